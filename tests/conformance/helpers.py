"""Short words for what nearly every conformance test does: name a thing, send a message, look at what came back."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from letta_client import APIStatusError, Letta
from letta_client.types.agents import LettaResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from letta_client.types import AgentState

MODEL = "openai/gpt-4o-mini"


class MakeAgent(Protocol):
    """Creates an agent; the arguments are those of `agents.create`."""

    def __call__(self, **fields: Any) -> AgentState: ...


def unique(prefix: str) -> str:
    """A name nothing else on the shared server has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def send(client: Letta, conversation_id: str, text: str | None = "hello", **options: Any) -> LettaResponse:
    """A message and its JSON reply. `text=None` leaves `input` out, for a call that gives `messages`."""
    if text is not None:
        options["input"] = text
    raw = client.conversations.messages.with_raw_response.create(conversation_id, streaming=False, **options)
    # The SDK types every reply of this route as a stream; a blocking one is read from its bytes.
    return LettaResponse.model_validate_json(raw.http_response.read())


def stream(client: Letta, conversation_id: str, text: str | None = "hello", **options: Any) -> list[Any]:
    """A message and the frames of its stream as the SDK parses them, read to the end."""
    if text is not None:
        options["input"] = text
    with client.conversations.messages.create(conversation_id, **options) as events:
        return list(events)


def stream_agent(client: Letta, agent_id: str, text: str = "hello", **options: Any) -> list[Any]:
    """As `stream`, through the agent's streaming route, which the SDK marks as deprecated and users still call."""
    route: Any = client.agents.messages.stream  # pyright: ignore[reportDeprecated]  it must work all the same
    with route(agent_id, input=text, **options) as events:
        return list(events)


def types(messages: Iterable[Any]) -> list[str]:
    return [message.message_type for message in messages]


def of_type(messages: Iterable[Any], message_type: str) -> list[Any]:
    return [message for message in messages if message.message_type == message_type]


def answer(response: LettaResponse) -> str:
    """The assistant's text in a JSON reply."""
    return "".join(message.content for message in of_type(response.messages, "assistant_message"))


def spoken(events: Iterable[Any]) -> str:
    """The assistant's text in a stream, deltas joined."""
    return "".join(event.content for event in of_type(events, "assistant_message"))


def history(client: Letta, conversation_id: str, **options: Any) -> list[Any]:
    """Every message of a conversation, oldest first."""
    options.setdefault("order", "asc")
    return list(client.conversations.messages.list(conversation_id, **options))


def refused(status: int, request: Callable[[], object]) -> dict[str, Any]:
    """The body of the error a request is answered with, which must have this status."""
    with pytest.raises(APIStatusError) as caught:
        request()
    assert caught.value.status_code == status, caught.value.response.text
    return caught.value.response.json()


def detail(status: int, request: Callable[[], object]) -> str:
    """The `detail` of the error a request is answered with, which must have this status."""
    return refused(status, request)["detail"]
