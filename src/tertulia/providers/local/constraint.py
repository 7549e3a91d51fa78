"""What a local model's reply is held to: a schema, made a grammar that every token has to fit.

The runtime knows no tool calls for such models, but a grammar holds any model to a schema. So with tools a reply is
``{"reply": …}`` or ``{"call": "tool", "arguments": {…}}``; ``envelope`` reads it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.tools import ToolSpec

# Without the first the grammar allows any white space between tokens, and a small model fills pages with it. Spaces
# after `:` and `,` are as in most JSON that a model has read. The runtime's own `json_schema` parameter drops all this.
_SPACING: Final = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
# What a tool's schema says beyond the grammar's means is not enforced; the tool itself looks at its arguments.
_LENIENT: Final = {"lenient": True, "coerce_one_of": True}
_LOOKS_AROUND: Final = re.compile(r"\(\?[=!<]|\\[1-9]")
_DEFINITIONS: Final = ("$defs", "definitions")


Opens: TypeAlias = Literal['"', "{"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a reply is held to. ``enveloped`` replies are reply-or-call objects; others are the schema's own value.

    ``opens`` is the character a reply's own value begins with, None if only calls are allowed. With ``lenient``, what
    the grammar cannot express of the schema is left out; without it the runtime drops the whole grammar, in silence.
    """

    schema: dict[str, Any]
    enveloped: bool
    opens: Opens | None
    lenient: bool

    @property
    def grammar(self) -> str:
        """In the language of llguidance, which the runtime is built with."""
        options = {"x-guidance": {**_SPACING, **_LENIENT} if self.lenient else _SPACING}
        return "%llguidance {}\nstart: %json " + msgspec.json.encode({**self.schema, **options}).decode()


def constraint(
    tools: Sequence[ToolSpec],
    tool_choice: str,
    response_format: dict[str, Any] | None,
    *,
    always_enveloped: bool = False,
) -> Constraint | None:
    """The constraint of a request; None if the model may write what it likes.

    ``always_enveloped`` asks for a reply object even where there is no tool to call.

    :raises InvalidArgument: if the response format is not of the API's three, or the tool choice names no tool.
    """
    wanted = _wanted_schema(response_format)
    callable_tools = _chosen(tools, tool_choice)
    if not callable_tools and not always_enveloped:
        return None if wanted is None else Constraint(wanted, enveloped=False, opens="{", lenient=False)
    definitions: dict[str, Any] = {}
    choices = [_call_schema(tool, definitions) for tool in callable_tools]
    may_reply = tool_choice == "auto" or not callable_tools
    if may_reply:
        answer = {"type": "string"} if wanted is None else _hoisted(wanted, "reply", definitions)
        choices.insert(0, _object(reply=answer))
    schema: dict[str, Any] = choices[0] if len(choices) == 1 else {"anyOf": choices}
    if definitions:
        schema = {**schema, "$defs": definitions}
    opens: Opens = '"' if wanted is None else "{"
    return Constraint(schema, enveloped=True, opens=opens if may_reply else None, lenient=wanted is None)


def _chosen(tools: Sequence[ToolSpec], tool_choice: str) -> list[ToolSpec]:
    if tool_choice == "none":
        return []
    if tool_choice in {"auto", "required"}:
        return list(tools)
    named = [tool for tool in tools if tool.name == tool_choice]
    if not named:
        raise InvalidArgument(f"INVALID_ARGUMENT: tool_choice names '{tool_choice}', which is not a tool of the agent.")
    return named


def _wanted_schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema":
        wrapper = response_format.get("json_schema")
        schema = cast("dict[str, Any]", wrapper).get("schema") if isinstance(wrapper, dict) else None
        if isinstance(schema, dict) and cast("dict[str, Any]", schema).get("type", "object") == "object":
            return {**cast("dict[str, Any]", schema), "type": "object"}
        raise InvalidArgument(
            "INVALID_ARGUMENT: response_format json_schema needs a schema of type object in json_schema.schema.",
        )
    raise InvalidArgument(
        f"INVALID_ARGUMENT: response_format type '{kind}' is not one of text, json_object, json_schema.",
    )


def _call_schema(tool: ToolSpec, definitions: dict[str, Any]) -> dict[str, Any]:
    parameters = _hoisted(_without_looking_around(tool.parameters), tool.name, definitions)
    return _object(call={"const": tool.name}, arguments={**parameters, "type": "object"})


def _without_looking_around(value: Any) -> Any:
    """A tool's schema without the patterns that would make the grammar impossible."""
    if isinstance(value, list):
        return [_without_looking_around(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_looking_around(item)
        for key, item in cast("dict[str, Any]", value).items()
        if not (key == "pattern" and isinstance(item, str) and _LOOKS_AROUND.search(item))
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _hoisted(schema: dict[str, Any], owner: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions moved to the common root, where references to them are looked up."""
    for key in _DEFINITIONS:
        for name, definition in cast("dict[str, Any]", schema.get(key) or {}).items():
            definitions[f"{owner}.{name}"] = _renamed(definition, owner)
    body = {key: value for key, value in schema.items() if key not in (*_DEFINITIONS, "$schema")}
    return cast("dict[str, Any]", _renamed(body, owner))


def _renamed(value: Any, owner: str) -> Any:
    if isinstance(value, list):
        return [_renamed(item, owner) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    renamed = {key: _renamed(item, owner) for key, item in cast("dict[str, Any]", value).items()}
    reference = renamed.get("$ref")
    if isinstance(reference, str):
        for key in _DEFINITIONS:
            if reference.startswith(f"#/{key}/"):
                renamed["$ref"] = f"#/$defs/{owner}.{reference.removeprefix(f'#/{key}/')}"
    return renamed
