"""Messages as the store has them: the histories of conversations, by position."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tertulia.domain.messages import Message
from tertulia.ports.queries import MessageQuery, SearchQuery


class Messages(Protocol):
    def append(self, conversation_id: str, messages: Sequence[Message], *, at: datetime | None = None) -> int:
        """Write the messages at the conversation's head and move it; returns the new head.

        ``at`` becomes the conversation's ``last_message_at``.
        """
        ...

    def set_system(self, conversation_id: str, message: Message) -> None:
        """Rewrite position 0, the compiled system prompt; its id stays that of the message first stored."""
        ...

    def system(self, conversation_id: str) -> Message: ...
    def range(self, conversation_id: str, start: int, stop: int) -> list[Message]:
        """The messages at positions ``start`` to ``stop`` - 1, oldest first, through all shared segments."""
        ...

    def ids_from(self, conversation_id: str, start: int) -> list[str]:
        """The ids from position ``start`` on, oldest first, without those of summaries."""
        ...

    def get(self, message_id: str) -> Message: ...
    def find(self, query: MessageQuery) -> list[Message]: ...
    def count(self, agent_id: str) -> int:
        """How many messages an agent has in all its conversations, without system prompts."""
        ...

    def search(self, query: SearchQuery) -> list[Message]:
        """Best match first."""
        ...

    def runs_by_otid(self, conversation_id: str, otids: Sequence[str]) -> dict[str, str]:
        """The runs that messages of the conversation with these ``otid`` were sent to, by otid."""
        ...

    def position(self, conversation_id: str, message_id: str) -> int:
        """Where a message stands in a conversation; raises NotFound if it is not in it."""
        ...

    def truncate(self, conversation_id: str, head: int) -> None:
        """Take back the positions from ``head`` on, and raise the epoch. Forks that share them keep them."""
        ...

    def reset(self, conversation_id: str) -> None:
        """Leave position 0 alone of the history, and raise the epoch."""
        ...
