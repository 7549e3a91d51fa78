"""Tool rules: the nine shapes, told apart by ``type``. The domain keeps them as the validated objects themselves."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import Field, TypeAdapter, ValidationError

from tertulia.api.wire.common import (
    MAX_IDS,
    MAX_INT,
    MAX_RULES,
    STORED,
    BodyModel,
    JsonObject,
    Listed,
    Name,
    Prose,
    showable,
)

_Children: TypeAlias = Annotated[Listed[Name], Field(max_length=MAX_RULES)]


class _ToolRule(BodyModel):
    tool_name: Name
    prompt_template: Prose | None = None


class ChildArgNode(BodyModel):
    name: Name
    args: JsonObject | None = None


class ChildToolRule(_ToolRule):
    type: Literal["constrain_child_tools"] = "constrain_child_tools"
    children: _Children
    child_arg_nodes: Annotated[Listed[ChildArgNode], Field(max_length=MAX_IDS)] | None = None


class InitToolRule(_ToolRule):
    type: Literal["run_first"] = "run_first"
    args: JsonObject | None = None


class TerminalToolRule(_ToolRule):
    type: Literal["exit_loop"] = "exit_loop"


class ConditionalToolRule(_ToolRule):
    type: Literal["conditional"] = "conditional"
    child_output_mapping: Annotated[dict[Prose, Name], Field(max_length=MAX_IDS)]
    default_child: Name | None = None
    require_output_mapping: bool = False


class ContinueToolRule(_ToolRule):
    type: Literal["continue_loop"] = "continue_loop"


class RequiredBeforeExitToolRule(_ToolRule):
    type: Literal["required_before_exit"] = "required_before_exit"


class MaxCountPerStepToolRule(_ToolRule):
    type: Literal["max_count_per_step"] = "max_count_per_step"
    max_count_limit: Annotated[int, Field(ge=0, le=MAX_INT)]


class ParentToolRule(_ToolRule):
    type: Literal["parent_last_tool"] = "parent_last_tool"
    children: _Children


class RequiresApprovalToolRule(_ToolRule):
    type: Literal["requires_approval"] = "requires_approval"


ToolRuleBody: TypeAlias = Annotated[
    ChildToolRule
    | InitToolRule
    | TerminalToolRule
    | ConditionalToolRule
    | ContinueToolRule
    | RequiredBeforeExitToolRule
    | MaxCountPerStepToolRule
    | ParentToolRule
    | RequiresApprovalToolRule,
    Field(discriminator="type"),
]


_SHAPES: Final[dict[str, type[_ToolRule]]] = {
    shape.model_fields["type"].default: shape for shape in get_args(get_args(ToolRuleBody)[0])
}
_RULES: Final[TypeAdapter[_ToolRule]] = TypeAdapter(ToolRuleBody)


def rules_to_wire(rules: Iterable[Mapping[str, Any]]) -> list[_ToolRule]:
    """Stored rules as they are shown, even those that would not be taken any more."""
    return list(map(_rule_to_wire, rules))


def _rule_to_wire(rule: Mapping[str, Any]) -> _ToolRule:
    try:
        return _RULES.validate_python(rule, context=STORED)
    except ValidationError:
        shown = {name: value for name, value in rule.items() if showable({name: value}).keys() == {name}}
        return _SHAPES.get(rule["type"], ContinueToolRule).model_construct(**shown)


def rules_from_wire(rules: Iterable[_ToolRule]) -> tuple[dict[str, Any], ...]:
    return tuple(rule.model_dump() for rule in rules)
