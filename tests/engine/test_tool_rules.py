"""Tool rules: what may be called next, and when a run is over."""

from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.turn.tool_rules import Rule, ToolRules

NAMES = ["a", "b", "c"]


def test_without_rules_every_tool_may_be_called_and_none_must_be() -> None:
    rules = ToolRules()
    assert rules.allowed(NAMES) == NAMES
    assert not rules.must_call
    assert not rules.over
    assert not rules.missing


def test_the_first_call_must_be_the_one_a_rule_names() -> None:
    rules = ToolRules([{"type": "run_first", "tool_name": "b", "args": {"x": 1}}])
    assert rules.allowed(NAMES) == ["b"]
    assert rules.must_call
    assert rules.prefilled_arguments("b") == {"x": 1}
    rules.record("b", "")
    assert rules.allowed(NAMES) == NAMES
    assert rules.prefilled_arguments("b") == {}


def test_a_terminal_call_ends_the_run() -> None:
    rules = ToolRules([{"type": "exit_loop", "tool_name": "a"}])
    rules.record("b", "")
    assert not rules.over
    rules.record("a", "")
    assert rules.over


def test_after_a_parent_only_its_children_may_be_called_with_the_arguments_it_sets() -> None:
    rules = ToolRules(
        [
            {
                "type": "constrain_child_tools",
                "tool_name": "a",
                "children": ["b"],
                "child_arg_nodes": [{"name": "b", "args": {"n": 2}}],
            }
        ]
    )
    rules.record("a", "")
    assert rules.allowed(NAMES) == ["b"]
    assert rules.prefilled_arguments("b") == {"n": 2}
    assert "Call one of: b" in (rules.refusal("c", NAMES) or "")


def test_what_a_call_returned_chooses_the_next_one() -> None:
    rule: Rule = {
        "type": "conditional",
        "tool_name": "a",
        "child_output_mapping": {"yes": "b"},
        "default_child": "c",
    }
    for output, child in (("yes", "b"), ("anything", "c")):
        rules = ToolRules([rule])
        rules.record("a", output)
        assert rules.allowed(NAMES) == [child]


def test_children_of_a_last_tool_rule_may_only_follow_their_parent() -> None:
    rules = ToolRules([{"type": "parent_last_tool", "tool_name": "a", "children": ["c"]}])
    assert rules.allowed(NAMES) == ["a", "b"]
    rules.record("a", "")
    assert rules.allowed(NAMES) == NAMES


def test_a_tool_may_be_called_no_more_often_than_its_limit() -> None:
    rules = ToolRules([{"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2}])
    rules.record("a", "")
    assert "a" in rules.allowed(NAMES)
    rules.record("a", "")
    assert "a" not in rules.allowed(NAMES)


def test_what_must_be_called_before_the_end_is_missing_until_it_is() -> None:
    rules = ToolRules([{"type": "required_before_exit", "tool_name": "c"}])
    assert rules.missing == ["c"]
    rules.record("c", "")
    assert rules.missing == []


def test_a_rule_may_want_a_persons_approval() -> None:
    rules = ToolRules([{"type": "requires_approval", "tool_name": "a"}])
    assert rules.needs_approval("a")
    assert not rules.needs_approval("b")
    assert rules.allowed(NAMES) == NAMES


_names = st.sampled_from(NAMES)


@st.composite
def _rules(draw: st.DrawFn) -> Rule:
    rule: Rule = {
        "type": draw(st.sampled_from(["exit_loop", "run_first", "constrain_child_tools", "max_count_per_step"])),
        "tool_name": draw(_names),
    }
    if rule["type"] == "constrain_child_tools":
        rule["children"] = draw(st.lists(_names, min_size=1))
    if rule["type"] == "max_count_per_step":
        rule["max_count_limit"] = draw(st.integers(0, 3))
    return rule


@given(st.lists(_rules(), max_size=5), st.lists(st.sampled_from(NAMES), max_size=6))
def test_a_tool_is_refused_exactly_when_it_is_not_allowed(rules: list[Rule], calls: list[str]) -> None:
    state = ToolRules(rules)
    for name in calls:
        allowed = state.allowed(NAMES)
        assert set(allowed) <= set(NAMES)
        assert all((state.refusal(each, NAMES) is None) == (each in allowed) for each in NAMES)
        state.record(name, "")
