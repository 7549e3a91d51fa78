"""A built-in tool: typed arguments, the schema that models are told of them, and a function."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from tertulia.domain.errors import TertuliaError
from tertulia.domain.ids import builtin_tool_id
from tertulia.domain.tools import ToolOutcome, ToolSpec, ToolType
from tertulia.ports.tool import ToolContext

A = TypeVar("A", bound=msgspec.Struct)


class BuiltinTool(Generic[A]):
    """A tool whose arguments are a struct; wrong ones are told to the model by name."""

    def __init__(
        self,
        name: str,
        description: str,
        arguments: type[A],
        run: Callable[[A, ToolContext], Awaitable[str]],
        *,
        tool_type: ToolType = "letta_core",
        parallel: bool = False,
        idempotent: bool = False,
    ) -> None:
        self.spec = ToolSpec(
            id=builtin_tool_id(name),
            name=name,
            description=description,
            parameters=schema_of(arguments),
            tool_type=tool_type,
            tags=(tool_type,),
            parallel=parallel,
            idempotent=idempotent,
        )
        self._arguments = arguments
        self._run = run

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Run it with the model's arguments; what the domain refuses comes back as an error for the model to read."""
        try:
            typed = msgspec.convert(arguments, self._arguments)
        except msgspec.ValidationError as error:
            return ToolOutcome(content=f"Wrong arguments for {self.spec.name}: {error}", status="error")
        try:
            return ToolOutcome(content=await self._run(typed, context))
        except TertuliaError as error:
            return ToolOutcome(content=error.message, status="error")


def schema_of(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """The arguments' JSON schema as one plain object, as providers want it."""
    _, components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = components[arguments.__name__]
    return {
        "type": "object",
        "properties": schema["properties"],
        "required": schema["required"],
        "additionalProperties": False,
    }
