"""The hot shapes for the OpenAPI document: Pydantic models made from the structs that are really sent."""

import types
from functools import cache
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import FieldInfo, fields
from pydantic import BaseModel, Field, create_model

from tertulia.api.wire import frames, messages
from tertulia.api.wire.common import ResponseModel


@cache
def model_of(struct: type[Struct]) -> type[BaseModel]:
    """A Pydantic model with the struct's name, docstring and fields, all of which are always present."""
    model_fields: dict[str, Any] = {field.name: (_document(field), ...) for field in fields(struct)}
    tag = struct.__struct_config__.tag
    if isinstance(tag, str):
        model_fields = {"type": (_constant(tag), ...)} | model_fields
    return create_model(struct.__name__, __base__=ResponseModel, __doc__=struct.__doc__, **model_fields)


def _document(field: FieldInfo) -> Any:
    match field.name:
        case "date":
            return Annotated[str, Field(json_schema_extra={"format": "date-time"})]
        case "message_type":
            return _constant(str(field.default))
        case _:
            return _translate(field.type)


def _constant(value: str) -> Any:
    return Annotated[str, Field(json_schema_extra={"const": value})]


def _translate(annotation: Any) -> Any:
    """The annotation with models in place of structs and lists in place of tuples, which JSON does not have."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return model_of(annotation)
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin in (types.UnionType, Union):
        return _union([_translate(argument) for argument in arguments])
    if origin in (list, tuple):
        listed: Any = list
        return listed[_translate(arguments[0])]
    return cast("Any", annotation)


def _union(members: list[Any]) -> Any:
    union, *others = members
    for member in others:
        union = union | member
    return union


_SHOWN: Final = (
    messages.SystemMessage,
    messages.UserMessage,
    messages.ReasoningMessage,
    messages.HiddenReasoningMessage,
    messages.ToolCallMessage,
    messages.ToolReturnMessage,
    messages.AssistantMessage,
    messages.ApprovalRequestMessage,
    messages.ApprovalResponseMessage,
    messages.SummaryMessage,
    messages.EventMessage,
)

LettaMessage: Final[Any] = _union([model_of(struct) for struct in _SHOWN])
"""Any message a list or a reply can hold."""

StopReason: Final = model_of(frames.StopReasonFrame)
UsageStatistics: Final = model_of(frames.UsageFrame)


class LettaResponse(ResponseModel):
    """The reply to a message sent with ``streaming: false``."""

    messages: list[LettaMessage]  # pyright: ignore[reportInvalidTypeForm]  a union made at run time
    stop_reason: StopReason  # pyright: ignore[reportInvalidTypeForm]  a model made at run time
    usage: UsageStatistics  # pyright: ignore[reportInvalidTypeForm]  as above
    logprobs: dict[str, Any] | None
    turns: None


STREAM_EXAMPLE: Final = "".join(
    f"data: {{{frame}}}\n\n"
    for frame in (
        '"message_type":"ping","run_id":"run-…","seq_id":1,…',
        '"message_type":"assistant_message","content":"Hello","seq_id":2,…',
        '"message_type":"stop_reason","stop_reason":"end_turn"',
        '"message_type":"usage_statistics","total_tokens":42,…',
    )
)
STREAM: Final[dict[str, Any]] = {
    "text/event-stream": {"schema": {"type": "string"}, "example": STREAM_EXAMPLE + "data: [DONE]\n\n"}
}
"""The content of a streamed reply."""
