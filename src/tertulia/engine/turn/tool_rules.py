"""Tool rules: which tools a model may call next in a run, and when its calls end it.

The rules are enforced by what a request offers the model and, where a model calls what was not offered, by an error
return that says what is allowed. A rule's object is the API's, told apart by ``type``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tertulia.domain.tools import ToolSpec

Rule = dict[str, Any]


def distinct(rules: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The rules, each once and in the order they came. What is null is as good as left out."""
    once: dict[bytes, dict[str, Any]] = {}
    for rule in rules:
        said = {name: value for name, value in rule.items() if value is not None}
        once.setdefault(msgspec.json.encode(said, order="sorted"), rule)
    return tuple(once.values())


class ToolRules:
    """The rules of one run and what it has called so far."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules
        self._counts: Counter[str] = Counter()
        self._last: str | None = None
        self._last_output = ""
        # Looked up for every tool at every step, of rules and tools there may be a thousand each.
        self._by_tool: dict[tuple[str, str], list[Rule]] = {}
        self._parents: dict[str, set[str]] = {}
        self._limits: dict[str, int] = {}
        for rule in rules:
            self._take_in(rule)

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def over(self) -> bool:
        """Whether a call has ended the run."""
        return any(("exit_loop", name) in self._by_tool for name in self._counts)

    @property
    def missing(self) -> list[str]:
        """The tools still to be called before the run may end."""
        return [rule["tool_name"] for rule in self._of("required_before_exit") if not self._counts[rule["tool_name"]]]

    @property
    def must_call(self) -> bool:
        """Whether the model must call a tool now."""
        return self._required_next() is not None

    def offer(self, specs: Mapping[str, ToolSpec], *, after_reply: bool) -> tuple[tuple[ToolSpec, ...], bool]:
        """The tools that the model may call now, and whether it has to. ``after_reply``: it has just said all it has.

        Where it wanted to end before it may, only what is missing is left to do.
        """
        if not self._rules:
            return tuple(specs.values()), False
        if after_reply and (missing := self.missing):
            return tuple([specs[name] for name in missing if name in specs]), True
        return tuple([specs[name] for name in self.allowed(list(specs))]), self.must_call

    def allowed(self, names: Sequence[str]) -> list[str]:
        """The tools of these that may be called now, in the same order."""
        chosen = self._required_next()
        return [name for name in names if (chosen is None or name in chosen) and not self._withheld(name)]

    def refusal(self, name: str, names: Sequence[str]) -> str | None:
        """Why the tool may not be called now, for the model to read; None if it may."""
        if name not in names or self.allowed([name]):
            return None
        allowed = self.allowed(names)
        return (
            f"A tool rule does not allow '{name}' now. Call one of: {', '.join(allowed) or 'no tool; answer instead'}."
        )

    def prefilled_arguments(self, name: str) -> Rule:
        """The arguments that a rule sets for a call of the tool made now."""
        nodes: list[Rule]
        if self._last is None:
            nodes = self._of_tool("run_first", name)
        else:
            children = self._of_tool("constrain_child_tools", self._last)
            nodes = [node for rule in children for node in rule.get("child_arg_nodes") or () if node["name"] == name]
        prefilled: Rule = {}
        for node in nodes:
            prefilled |= node.get("args") or {}
        return prefilled

    def needs_approval(self, name: str) -> bool:
        """Whether a person has to agree before the tool is run."""
        return ("requires_approval", name) in self._by_tool

    def record(self, name: str, output: str) -> None:
        """A call has returned."""
        self._counts[name] += 1
        self._last, self._last_output = name, output

    def _take_in(self, rule: Rule) -> None:
        kind, name = rule["type"], rule["tool_name"]
        self._by_tool.setdefault((kind, name), []).append(rule)
        if kind == "parent_last_tool":
            for child in rule["children"]:
                self._parents.setdefault(child, set()).add(name)
        elif kind == "max_count_per_step":
            limit = rule["max_count_limit"]
            self._limits[name] = min(limit, self._limits.get(name, limit))

    def _of(self, kind: str) -> list[Rule]:
        return [rule for rule in self._rules if rule["type"] == kind]

    def _of_tool(self, kind: str, name: str) -> list[Rule]:
        return self._by_tool.get((kind, name), [])

    def _required_next(self) -> set[str] | None:
        """The tools that the next call must be one of; None if any may be."""
        if self._last is None:
            return {rule["tool_name"] for rule in self._of("run_first")} or None
        after = {child for rule in self._of_tool("constrain_child_tools", self._last) for child in rule["children"]}
        for rule in self._of_tool("conditional", self._last):
            after |= self._conditional(rule)
        return after or None

    def _conditional(self, rule: Rule) -> set[str]:
        child = rule["child_output_mapping"].get(self._last_output, rule.get("default_child"))
        return {child} if child else set()

    def _withheld(self, name: str) -> bool:
        parents = self._parents.get(name)
        if parents is not None and self._last not in parents:
            return True
        limit = self._limits.get(name)
        return limit is not None and self._counts[name] >= limit
