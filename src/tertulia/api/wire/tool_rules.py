"""Tool rules: the nine shapes, told apart by ``type``. The domain keeps them as the validated objects themselves."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from tertulia.api.wire.common import MAX_INT, JsonObject, Listed, RequestModel


class _ToolRule(RequestModel):
    tool_name: str
    prompt_template: str | None = None


class ChildArgNode(RequestModel):
    name: str
    args: JsonObject | None = None


class ChildToolRule(_ToolRule):
    type: Literal["constrain_child_tools"] = "constrain_child_tools"
    children: Listed[str]
    child_arg_nodes: Listed[ChildArgNode] | None = None


class InitToolRule(_ToolRule):
    type: Literal["run_first"] = "run_first"
    args: JsonObject | None = None


class TerminalToolRule(_ToolRule):
    type: Literal["exit_loop"] = "exit_loop"


class ConditionalToolRule(_ToolRule):
    type: Literal["conditional"] = "conditional"
    child_output_mapping: dict[str, str]
    default_child: str | None = None
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
    children: Listed[str]


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


def rules_from_wire(rules: Iterable[_ToolRule]) -> tuple[dict[str, Any], ...]:
    return tuple(rule.model_dump() for rule in rules)
