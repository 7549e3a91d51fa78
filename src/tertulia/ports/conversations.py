"""Conversations as the store has them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tertulia.domain.conversations import Conversation
from tertulia.domain.messages import Message
from tertulia.ports.queries import ConversationQuery


class Conversations(Protocol):
    def insert(self, conversation: Conversation, system: Message) -> None:
        """Store it with the compiled system prompt as its position 0 (``head`` becomes 1)."""
        ...

    def get(self, conversation_id: str, *, lock: bool = True) -> Conversation:
        """``lock``: what is read of it from here on stays as it is until the transaction ends."""
        ...

    def update(self, conversation: Conversation) -> None:
        """Store every field but ``head``, ``context_from`` and ``epoch``, which belong to ``Messages``."""
        ...

    def touch(
        self,
        conversation_id: str,
        *,
        last_message_at: datetime | None = None,
        last_run_completion: datetime | None = None,
    ) -> None:
        """Set the given times alone; the cheap update of every message."""
        ...

    def set_asked(self, conversation_id: str, at: datetime | None) -> None:
        """Note when it last called tools that wait for answers; None if none of them does any more.

        That one still waits, the history says: the note only finds the conversations to look at.
        """
        ...

    def asked_before(self, instant: datetime, limit: int) -> list[str]:
        """Those that were noted so long ago and have no running run, the longest ago first."""
        ...

    def set_context(self, conversation_id: str, context_from: int, pins: Sequence[int] = ()) -> None:
        """Show the model nothing before this position but the system prompt and the pinned positions."""
        ...

    def fork(self, source_id: str, fork: Conversation, system: Message, upto: int) -> None:
        """Store ``fork`` with the source's history below position ``upto``, shared, not copied, and its own prompt.

        The cost does not depend on the length of the history. Either may be deleted without the other noticing.
        """
        ...

    def delete(self, conversation_id: str) -> None:
        """Remove it with its runs and steps, and those of its messages that no other conversation shares."""
        ...

    def find(self, query: ConversationQuery) -> list[Conversation]: ...
