"""One conversation of the demo, driven by the official SDK, unmodified."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from letta_client import AsyncLetta


class TalkFailed(Exception):
    """The server reported an error inside a reply."""


@dataclass(slots=True)
class Reply:
    """A streamed reply; ``first`` and ``last`` are when its first and last piece came, in ``time.monotonic()``."""

    text: str = ""
    pieces: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, text: str) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.text += text
        self.pieces += 1


@dataclass(slots=True)
class Talk:
    """A conversation: its replies so far, the messages it holds, and every request the model was sent for it."""

    title: str
    id: str
    replies: list[Reply] = field(default_factory=list[Reply])
    messages: str = ""
    requests: list[str] = field(default_factory=list[str])

    async def say(self, client: AsyncLetta, text: str, on_token: Callable[[str], None]) -> None:
        """Send a message and stream the reply.

        :raises TalkFailed: if the reply ends in an error or breaks off.
        """
        reply = Reply()
        self.replies.append(reply)
        try:
            await self._stream(client, text, reply, on_token)
        except httpx.HTTPError as error:
            raise TalkFailed(f"the reply was interrupted: {error}") from error

    async def _stream(self, client: AsyncLetta, text: str, reply: Reply, on_token: Callable[[str], None]) -> None:
        stream = await client.conversations.messages.create(self.id, input=text, streaming=True, stream_tokens=True)
        async for event in stream:
            if event.message_type == "assistant_message":
                piece = (
                    event.content if isinstance(event.content, str) else "".join(part.text for part in event.content)
                )
                reply.add(piece)
                on_token(piece)
            elif event.message_type == "error_message":
                raise TalkFailed(event.message)

    async def look_back(self, client: AsyncLetta) -> None:
        """Ask the server what the conversation holds, and what exactly the model was sent for each reply."""
        page = await client.conversations.messages.list(self.id, order="asc", limit=100)
        self.messages = "\n".join(message.model_dump_json() for message in page.items)
        steps = dict.fromkeys(message.step_id for message in page.items if message.step_id)
        traces = [await client.steps.trace.retrieve(step_id) for step_id in steps]
        self.requests = [json.dumps(trace.request_json, ensure_ascii=False) for trace in traces if trace]


def overlapped(first: Reply, second: Reply) -> bool:
    """Whether each reply had begun before the other one ended."""
    return first.first < second.last and second.first < first.last
