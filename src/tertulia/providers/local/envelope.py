"""Reply or call: the JSON object that a local model is held to when it may call tools, and reading it as it comes.

The runtime knows no tool calls for such models, but a grammar holds any model to a schema. So with tools a reply is
``{"reply": …}`` or ``{"call": "tool", "arguments": {…}}``, and its stream is turned back into text and tool calls.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ProviderEvent, TextPiece, ToolCallPiece
from tertulia.providers.local.json_stream import JsonString, JsonText

# Without this the grammar allows any white space between tokens, and a small model fills pages with it. With a space
# after `:` and `,`, as in most JSON a model has read, small models answer better than without (bench/layouts). The
# runtime's own `json_schema` parameter drops the option; the same schema inside of a grammar keeps it.
_SPACING: Final = {"x-guidance": {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}}
_REPLY: Final = re.compile(r'\s*\{\s*"reply"\s*:\s*(["\[{])')
_CALL: Final = re.compile(r'\s*\{\s*"call"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(\{)')
_DEFINITIONS: Final = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a reply is held to. ``enveloped`` replies are reply-or-call objects; others are the schema's own value."""

    schema: dict[str, Any]
    enveloped: bool

    @property
    def grammar(self) -> str:
        """In the language of llguidance, which the runtime is built with."""
        return "%llguidance {}\nstart: %json " + msgspec.json.encode({**self.schema, **_SPACING}).decode()


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
        return None if wanted is None else Constraint(wanted, enveloped=False)
    definitions: dict[str, Any] = {}
    choices = [_call_schema(tool, definitions) for tool in callable_tools]
    if tool_choice == "auto" or not callable_tools:
        answer = {"type": "string"} if wanted is None else _hoisted(wanted, "reply", definitions)
        choices.insert(0, _object(reply=answer))
    schema: dict[str, Any] = choices[0] if len(choices) == 1 else {"anyOf": choices}
    if definitions:
        schema = {**schema, "$defs": definitions}
    return Constraint(schema, enveloped=True)


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
            return cast("dict[str, Any]", schema)
        raise InvalidArgument(
            "INVALID_ARGUMENT: response_format json_schema needs a schema of type object in json_schema.schema.",
        )
    raise InvalidArgument(
        f"INVALID_ARGUMENT: response_format type '{kind}' is not one of text, json_object, json_schema.",
    )


def _call_schema(tool: ToolSpec, definitions: dict[str, Any]) -> dict[str, Any]:
    parameters = _hoisted(tool.parameters, tool.name, definitions) or {}
    return _object(call={"const": tool.name}, arguments={"type": "object", **parameters})


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


class EnvelopeReader:
    """Turns the text of a reply-or-call object into events, as early as each is certain."""

    def __init__(self, call_id: str) -> None:
        self.called = False
        self._call_id = call_id
        self._head = ""
        self._value: JsonString | JsonText | None = None

    @property
    def complete(self) -> bool:
        return self._value is not None and self._value.done

    def feed(self, text: str) -> list[ProviderEvent]:
        events: list[ProviderEvent] = []
        if self._value is None:
            self._head += text
            text = self._open(events)
        if self._value is None or self._value.done:
            return events
        piece, _ = self._value.feed(text)
        if piece:
            events.append(ToolCallPiece(0, piece) if self.called else TextPiece(piece))
        return events

    def _open(self, events: list[ProviderEvent]) -> str:
        """See whether the head tells reply from call; the text of the value that has come with it."""
        reply = _REPLY.match(self._head)
        if reply:
            self._value = JsonString() if reply[1] == '"' else JsonText()
            return self._head[reply.end() if reply[1] == '"' else reply.start(1) :]
        call = _CALL.match(self._head)
        if call:
            self.called, self._value = True, JsonText()
            events.append(ToolCallPiece(0, "", id=self._call_id, name=msgspec.json.decode(call[1], type=str)))
            return self._head[call.start(2) :]
        return ""
