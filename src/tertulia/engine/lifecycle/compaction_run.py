"""Compactions that somebody asks for: a run of its own that answers nothing, and the way back from one.

It is a run so that nothing else happens in the conversation meanwhile, a cancel stops it, a crash ends it, and the list
of runs shows it, with ``{"kind": "compaction"}`` as its metadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tertulia.domain.agents import CompactionSettings
from tertulia.domain.errors import Conflict, ConversationBusy, InvalidArgument, TertuliaError
from tertulia.domain.messages import Message
from tertulia.domain.runs import Run
from tertulia.engine.approvals import Settlement
from tertulia.engine.lifecycle.start import Begun
from tertulia.engine.turn.compaction import Compactor
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.history import pinned_messages
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.outcome import Ending
from tertulia.ports.store import Transaction

METADATA: Final[Mapping[str, Any]] = MappingProxyType({"kind": "compaction"})
"""That of a run that compacts; each run has a copy."""

_NOTHING: Final = "INVALID_ARGUMENT: There is nothing to compact in this conversation: it has too few messages."


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction or its undoing came to. Counts are messages in context, the system prompt among them."""

    summary: str
    messages_before: int
    messages_after: int


class Compacting:
    """What a run does that compacts; in the place of the loop. It takes no steps."""

    open_step: None = None

    def __init__(self, turn: Turn, compactor: Compactor, images: Images, asked: CompactionSettings | None) -> None:
        self._turn = turn
        self._compactor = compactor
        self._images = images
        self._asked = asked
        self._summary: Message | None = None
        self._error: Exception | None = None

    async def run(self) -> Ending:
        try:
            await self._turn.load_images(self._images)
            self._summary = await self._compactor.on_request(self._turn, self._turn.request(), self._asked)
        except Exception as error:
            self._error = error  # for the one who asked; the run's readers are told as well
            raise
        return Ending("end_turn")

    def result(self) -> Compacted:
        """What came of it, when the run has ended.

        :raises TertuliaError: the one that ended it, or ``Conflict`` if it was cancelled.
        """
        if isinstance(self._error, TertuliaError):
            raise self._error
        if self._error is not None:
            raise TertuliaError("The conversation could not be compacted; the server's log says why.")
        if self._summary is None or self._summary.compaction is None:
            raise Conflict("CONFLICT: The compaction was cancelled. The conversation is as it was.")
        made = self._summary.compaction
        return Compacted(self._summary.text, made.messages_before, made.messages_after)


def begin_compaction(run: Run, worker_id: str, tx: Transaction) -> Begun:
    """Take the conversation for a compaction.

    :raises ConversationBusy: if it is answering a message.
    :raises InvalidArgument: if it is too short to be compacted.
    """
    conversation = tx.conversations.get(run.conversation_id, lock=True)
    tx.runs.insert(run, worker_id)
    if conversation.head - conversation.context_from + len(conversation.pins) < 2:  # noqa: PLR2004  the one and another
        raise InvalidArgument(_NOTHING)
    return Begun(run, conversation, conversation.head, [], Settlement())


def undo(conversation_id: str, tx: Transaction) -> Compacted:
    """Show the model again what the last compaction took out of its view. What was said since stays.

    :raises ConversationBusy: if the conversation is answering a message.
    :raises InvalidArgument: if there is no compaction to undo.
    """
    conversation = tx.conversations.get(conversation_id, lock=True)
    active = tx.runs.active(conversation_id)
    if active is not None:
        raise ConversationBusy(active.id)
    pinned = pinned_messages(conversation_id, conversation.pins, tx)
    summary = next((message for _, message in pinned if message.compaction), None)
    made = summary and summary.compaction
    if summary is None or made is None:
        raise InvalidArgument("INVALID_ARGUMENT: This conversation has no compaction to undo.")
    before = _in_context(conversation_id, conversation.context_from, conversation.pins, tx)
    tx.conversations.set_context(conversation_id, made.context_from, made.pins)
    return Compacted(summary.text, before, _in_context(conversation_id, made.context_from, made.pins, tx))


def _in_context(conversation_id: str, start: int, pins: tuple[int, ...], tx: Transaction) -> int:
    return 1 + len(pins) + len(tx.messages.ids_from(conversation_id, start))
