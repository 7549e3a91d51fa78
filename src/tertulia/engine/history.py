"""The history a model is shown, kept in memory between the messages of a conversation.

Positions once written never change (but for an epoch), so what is kept stays true and only what was added since is
read: a message costs the same after 10,000 others as after 10.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from tertulia.context.pairing import is_paired, paired, unanswered
from tertulia.domain.conversations import Conversation
from tertulia.domain.messages import Message, TextPart, ToolCallPart
from tertulia.ports.store import Store, Transaction

_log = structlog.get_logger(__name__)

KEPT_BYTES = 16 * 1024 * 1024
"""About how much memory the kept histories of all conversations may take; the least recently used go first."""

MESSAGE_BYTES = 1_000
"""What a short message takes as objects."""


@dataclass(slots=True)
class History:
    """The messages from ``start`` to ``head`` - 1 of one conversation, oldest first, without the system prompt."""

    conversation_id: str
    epoch: int
    start: int
    head: int
    messages: list[Message] = field(default_factory=list[Message])
    call_ids: set[str] = field(default_factory=set[str])
    size: int = 0  # about how many bytes it takes in memory
    _sound: int = 0  # how many of the first messages are known to be paired

    def append(self, messages: Sequence[Message], head: int) -> None:
        """Go on with what was just written."""
        self.messages.extend(messages)
        self.size += sum(map(_size, messages))
        self.call_ids.update(call.id for message in messages for call in message.tool_calls)
        self.head = head

    def shown(self) -> list[Message]:
        """The history as providers accept it. Only what was added since the last time is looked at."""
        added = self.messages[self._sound :]
        if is_paired(added):
            self._sound = len(self.messages)
            return list(self.messages)
        _log.warning("history_mended", conversation_id=self.conversation_id, messages=len(added))
        return self.messages[: self._sound] + paired(added)

    def unanswered(self) -> list[ToolCallPart]:
        """The calls that wait for their return."""
        return unanswered(self.messages[self._sound :])


class Histories:
    """The histories of all conversations in use. One run at a time uses a conversation's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._size = 0

    async def of(self, conversation: Conversation) -> History:
        """The conversation's history up to its head, read from the store as far as it is not known."""
        history = self._take(conversation)
        if history.head < conversation.head:
            read = partial(_range, conversation.id, history.head, conversation.head)
            history.append(await self._store.read(read), conversation.head)
        return history

    def keep(self, history: History) -> None:
        """Keep it for the conversation's next message."""
        self.forget(history.conversation_id)
        self._kept[history.conversation_id] = history
        self._size += history.size
        while self._size > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size

    def forget(self, conversation_id: str) -> None:
        kept = self._kept.pop(conversation_id, None)
        if kept is not None:
            self._size -= kept.size

    def _take(self, conversation: Conversation) -> History:
        start, epoch = conversation.context_from, conversation.epoch
        kept = self._kept.get(conversation.id)
        self.forget(conversation.id)
        if kept is not None and (kept.epoch, kept.start) == (epoch, start) and kept.head <= conversation.head:
            return kept
        return History(conversation.id, epoch, start, start)


def _size(message: Message) -> int:
    return MESSAGE_BYTES + sum(len(part.text) for part in message.content if isinstance(part, TextPart))


def _range(conversation_id: str, start: int, stop: int, tx: Transaction) -> list[Message]:
    return tx.messages.range(conversation_id, start, stop)
