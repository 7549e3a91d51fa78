"""The few calls of the server's API that a run needs, as plain JSON over the raw client."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import cast

from bench.client import Connection, Reply, request_bytes

BLOCKS = (
    {"label": "persona", "value": "I am Bench, a patient assistant who answers in one sentence."},
    {"label": "human", "value": "The user is called Ines, keeps bees in Porto, and dislikes long answers."},
)
TEXT = "What did we say about the lamp by the door yesterday evening, and who was going to mend it?"


class RequestFailed(Exception):
    """The server answered with something else than was asked for; the message carries its answer."""


def agent(model: str, context_window_limit: int | None = None) -> bytes:
    """Create an agent as a user would: two memory blocks and the tools every agent gets."""
    body: dict[str, object] = {"name": f"bench-{model}", "model": f"openai/{model}", "memory_blocks": BLOCKS}
    if context_window_limit is not None:
        body["context_window_limit"] = context_window_limit
    return request_bytes("POST", "/v1/agents/", body)


def conversation(agent_id: str) -> bytes:
    return request_bytes("POST", f"/v1/conversations/?agent_id={agent_id}", {})


def message(conversation_id: str, *, streaming: bool) -> bytes:
    """One user message; `streaming` asks for tokens as they come."""
    messages = [{"role": "user", "content": TEXT}]
    return _send(conversation_id, {"messages": messages, "streaming": streaming, "stream_tokens": streaming})


def past(conversation_id: str, count: int) -> bytes:
    """`count` messages of a past exchange at once, user and assistant in turn, a user's at the end."""
    roles = ("user", "assistant") if count % 2 else ("assistant", "user")
    messages = [{"role": roles[index % 2], "content": f"{index}: {TEXT}"} for index in range(count)]
    return _send(conversation_id, {"messages": messages, "streaming": False})


def _send(conversation_id: str, body: dict[str, object]) -> bytes:
    return request_bytes("POST", f"/v1/conversations/{conversation_id}/messages", body)


async def create(connection: Connection, request: bytes) -> str:
    """Send a creating request and return the new object's id."""
    reply = await connection.send(request)
    require(reply)
    return cast("dict[str, str]", reply.json())["id"]


async def create_conversations(connection: Connection, agent_id: str, count: int) -> Sequence[str]:
    request = conversation(agent_id)
    return [await create(connection, request) for _ in range(count)]


def is_answer(reply: Reply) -> bool:
    """Whether a message was answered to its end, read off the bytes: parsing would be part of the load."""
    return reply.status == HTTPStatus.OK and b"assistant_message" in reply.raw and b"end_turn" in reply.raw


def require(reply: Reply, *, answer: bool = False) -> None:
    """Stop the run at the first wrong answer.

    Raises:
        RequestFailed: if the status is not 200, or, with `answer`, if no finished assistant message is in it.
    """
    if reply.status != HTTPStatus.OK or (answer and not is_answer(reply)):
        raise RequestFailed(f"status {reply.status}: {reply.body[:2000].decode(errors='replace')}")
