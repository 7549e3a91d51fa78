"""A request as the runtime takes it: the bytes of the body, and how many tokens it can come to at most."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import ImagePart
from tertulia.domain.models import ModelSettings
from tertulia.ports.provider import ModelRequest
from tertulia.providers.local.constraint import Constraint, constraint
from tertulia.providers.local.layouts import Layout, Turn

_INEXPRESSIBLE: Final = (
    "reasoning",
    "effort",
    "thinking",
    "thinking_config",
    "verbosity",
    "response_schema",
    "tool_call_parser",
)
_BYTES_PER_TOKEN: Final = 2  # at the least, in all but the rarest text; ordinary English has four
_TOKENS_PER_TURN: Final = 8  # what a chat template adds
_UNBOUNDED_REPLY: Final = 1024


@dataclass(frozen=True, slots=True)
class Body:
    """``tokens`` is an upper estimate for prompt and reply together."""

    data: bytes
    tokens: int
    held_to: Constraint | None


def make_body(request: ModelRequest, layout: Layout) -> Body:
    """The body of a request.

    :raises InvalidArgument: if a setting has no meaning for a local model, or the message is an image.
    """
    settings = request.settings
    if settings is not None:
        refuse_inexpressible(settings)
    _refuse_image(request)
    held_to = _constraint(request, settings, layout)
    enveloped = held_to is not None and held_to.enveloped
    turns = layout.turns(request, enveloped=enveloped)
    max_tokens = (settings and settings.max_output_tokens) or layout.max_tokens
    temperature = layout.temperature if settings is None or settings.temperature is None else settings.temperature
    parameters: dict[str, Any] = {
        "model": request.model,
        "messages": turns,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "repeat_penalty": layout.repeat_penalty,
        "grammar": held_to and held_to.grammar,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # chunks while a prompt is read, at each of which a request can be stopped
    }
    data = msgspec.json.encode({name: value for name, value in parameters.items() if value is not None})
    prompt = sum(len(turn.content.encode()) // _BYTES_PER_TOKEN + _TOKENS_PER_TURN for turn in turns)
    return Body(data, prompt + (max_tokens or _UNBOUNDED_REPLY), held_to)


def opening_body(layout: Layout) -> bytes | None:
    """The request that lets a model read what all chats of the layout begin with; None if they begin differently."""
    opening = layout.opening()
    if not opening:
        return None
    # A question without a word in it, so that the last turn before it is closed as in any other chat.
    turns = [*opening, Turn("user", "")]
    return msgspec.json.encode({"messages": turns, "max_tokens": 1, "temperature": 0.0, "id_slot": 0})


def _constraint(request: ModelRequest, settings: ModelSettings | None, layout: Layout) -> Constraint | None:
    tool_choice = request.tool_choice
    if tool_choice == "auto" and not layout.calls_again and request.messages and request.messages[-1].role == "tool":
        tool_choice = "none"
    return constraint(
        request.tools, tool_choice, settings and settings.response_format, always_enveloped=layout.always_enveloped
    )


def refuse_inexpressible(settings: ModelSettings) -> None:
    """Refuse what only providers over the network know.

    :raises InvalidArgument: the message names the setting.
    """
    for name in _INEXPRESSIBLE:
        if getattr(settings, name) is not None:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: model_settings.{name} does not apply to a model that runs inside the server. "
                "Remove it.",
            )


def _refuse_image(request: ModelRequest) -> None:
    """An image asked about now is refused; one further back is named in its place, so that the talk can go on."""
    if request.messages and any(isinstance(part, ImagePart) for part in request.messages[-1].content):
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the model 'local/{request.model}' only reads text. Send the message without the "
            "image, or use a model that sees images.",
        )
