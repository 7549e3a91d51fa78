"""The history a model is shown, kept in memory between the messages of a conversation.

Positions once written never change (but for an epoch), so what is kept stays true and only what was added since is
read: a message costs the same after 10,000 others as after 10.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from tertulia.context.pairing import is_paired, paired, unanswered
from tertulia.context.summaries import as_shown
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.images import remote_images, without_images
from tertulia.domain.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.engine.turn.images import Images
from tertulia.ports.store import Store, Transaction

_log = structlog.get_logger(__name__)

KEPT_BYTES = 16 * 1024 * 1024
"""About how much memory the kept histories of all conversations may take; the least recently used go first."""

MESSAGE_BYTES = 1_000
"""What a short message takes as objects."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a provider counted of a request of the model ``model``, which ended before position ``head``.

    ``tokens`` are those of the whole request; ``frame`` is what was estimated to be the part that is no history.
    """

    model: str
    tokens: int
    frame: int
    head: int


@dataclass(slots=True)
class History:
    """The messages from ``start`` to ``head`` - 1 of one conversation, oldest first, without the system prompt.

    ``pinned`` are those at the positions ``pins``, shown before them. Summaries are shown where they are pinned and
    nowhere else. ``measure`` is of the last request, if its provider counted.
    """

    conversation_id: str
    epoch: int
    start: int
    head: int
    pins: tuple[int, ...] = ()
    pinned: list[tuple[int, Message]] = field(default_factory=list[tuple[int, Message]])
    messages: list[Message] = field(default_factory=list[Message])
    call_ids: set[str] = field(default_factory=set[str])
    image_urls: dict[str, None] = field(default_factory=dict[str, None])  # of all messages, in their order
    measure: Measure | None = None
    taken: tuple[str, int] = ("", 0)  # the model whose provider took the last request, and where that ended
    unseen: dict[str, frozenset[str]] = field(
        default_factory=dict[str, frozenset[str]]
    )  # messages without images, by model
    whole: bool = False  # whether it holds all that is in view; one that was not read yet does not
    size: int = 0  # about how many bytes it takes in memory
    _sound: int = 0  # how many of the first messages are known to be paired
    _summaries: int = 0  # how many of the messages are summaries

    def append(self, messages: Sequence[Message], head: int) -> None:
        """Go on with what was just written."""
        self.messages.extend(messages)
        self.size += sum(map(_size, messages))
        self.call_ids.update(call.id for message in messages for call in message.tool_calls)
        self.image_urls.update(_image_urls(messages))
        self._summaries += sum(message.role == "summary" for message in messages)
        self.head = head

    def move(self, start: int, pinned: list[tuple[int, Message]]) -> None:
        """Show no more than the pinned messages and those from ``start`` on."""
        gone = self.messages[: start - self.start]
        self.messages = self.messages[len(gone) :]
        self.size -= sum(map(_size, gone))
        self._sound = max(0, self._sound - len(gone))
        self._summaries -= sum(message.role == "summary" for message in gone)
        self.start, self.pinned, self.measure = start, pinned, None
        self.image_urls = _image_urls([*(message for _, message in pinned), *self.messages])
        self.pins = tuple(sorted(position for position, _ in pinned))

    def in_view(self) -> list[tuple[int, Message]]:
        """The messages that are shown, as they are stored, with their positions."""
        own = zip(range(self.start, self.head), self.messages, strict=True)
        return [*self.pinned, *((position, message) for position, message in own if message.role != "summary")]

    def since(self, position: int, model: str) -> list[Message]:
        """The messages from a position on, as that model is shown them."""
        return self._without_unseen(model, self._but_summaries(self.messages[max(0, position - self.start) :]))

    def hide_images(self, model: str, message_ids: Iterable[str]) -> None:
        """Show the model of this handle the messages without their images, until the history is read again."""
        self.unseen[model] = self.unseen_by(model).union(message_ids)

    def unseen_by(self, model: str) -> frozenset[str]:
        """The messages whose images are hidden from the model."""
        return self.unseen.get(model, frozenset())

    def visible_to(self, model: str) -> list[Message]:
        """The history as that model's provider accepts it."""
        return self._without_unseen(model, self.visible())

    def visible(self) -> list[Message]:
        """The history as providers accept it. Only what was added since the last time is looked at."""
        pinned = [as_shown(message) for _, message in self.pinned]
        added = self._but_summaries(self.messages[self._sound :])
        if is_paired(added):
            self._sound = len(self.messages)
            return pinned + self._but_summaries(self.messages)
        if not all(call.awaits for call in unanswered(added)):  # what waits for an answer is not lost
            _log.warning("history_mended", conversation_id=self.conversation_id, messages=len(added))
        return pinned + self._but_summaries(self.messages[: self._sound]) + paired(added)

    def open_calls(self) -> list[ToolCallPart]:
        """The calls that wait for their return."""
        return unanswered(self.messages[self._sound :])

    def _without_unseen(self, model: str, messages: list[Message]) -> list[Message]:
        unseen = self.unseen.get(model)
        if not unseen:
            return messages
        return [without_images(message) if message.id in unseen else message for message in messages]

    def _but_summaries(self, messages: list[Message]) -> list[Message]:
        if not self._summaries:
            return list(messages)
        return [message for message in messages if message.role != "summary"]


class Histories:
    """The histories of all conversations in use, with the ``images`` they name. One run at a time uses a history."""

    def __init__(self, store: Store, images: Images) -> None:
        self.images = images
        self._store = store
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._size = 0

    async def of(self, conversation: Conversation) -> History:
        """The conversation's history up to its head, read from the store as far as it is not known.

        :raises NotFound: if it was deleted meanwhile.
        """
        history = self._take(conversation)
        if len(history.pinned) < len(history.pins):
            history.pinned = await self._store.read(partial(pinned_messages, conversation.id, history.pins))
            history.image_urls.update(_image_urls(message for _, message in history.pinned))
        if history.head < conversation.head:
            added = await self._store.read(partial(_range, conversation.id, history.head, conversation.head))
            if len(added) < conversation.head - history.head:
                raise NotFound("Conversation", conversation.id)
            history.append(added, conversation.head)
        history.whole = True
        return history

    def keep(self, history: History) -> None:
        """Keep it for the conversation's next message."""
        self.forget(history.conversation_id)
        if not history.whole:
            return
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
        same = kept is not None and (kept.epoch, kept.start, kept.pins) == (epoch, start, conversation.pins)
        if kept is not None and same and kept.head <= conversation.head:
            return kept
        return History(conversation.id, epoch, start, start, conversation.pins)


def pinned_messages(conversation_id: str, pins: Sequence[int], tx: Transaction) -> list[tuple[int, Message]]:
    """The messages at pinned positions in the order they are shown: the summary, then what is kept beside it."""
    found: list[tuple[int, Message]] = []
    for start, stop in _runs_of(pins):
        found += enumerate(tx.messages.range(conversation_id, start, stop), start)
    return sorted(found, key=lambda pinned: pinned[1].role != "summary")


def _runs_of(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The rising positions as ranges, each read at once: a long question that is kept is pinned message by message."""
    ranges: list[tuple[int, int]] = []
    for at in positions:
        if ranges and ranges[-1][1] == at:
            ranges[-1] = (ranges[-1][0], at + 1)
        else:
            ranges.append((at, at + 1))
    return ranges


def _image_urls(messages: Iterable[Message]) -> dict[str, None]:
    return {url: None for message in messages for url in remote_images(message)}


def _size(message: Message) -> int:
    return MESSAGE_BYTES + sum(map(_part_size, message.content))


def _part_size(part: Part) -> int:
    match part:
        case TextPart():
            return len(part.text)
        case ToolCallPart():
            return len(part.arguments)
        case ToolReturnPart():
            return len(part.content) if isinstance(part.content, str) else sum(map(_part_size, part.content))
        case ImagePart():
            return len(part.source.data or "") if not isinstance(part.source, UrlImage) else len(part.source.url)
        case ReasoningPart():
            return len(part.reasoning) + len(part.signature or "")
        case _:
            return MESSAGE_BYTES


def _range(conversation_id: str, start: int, stop: int, tx: Transaction) -> list[Message]:
    return tx.messages.range(conversation_id, start, stop)
