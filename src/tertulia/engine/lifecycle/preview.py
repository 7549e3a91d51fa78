"""Previews: the request that a model would be sent first, as its provider's body. Nothing is sent or stored.

Nor is an image fetched: one that is not in memory is shown as missing.
"""

from functools import partial
from typing import NoReturn

from msgspec.structs import replace

from tertulia.domain.errors import Conflict
from tertulia.domain.events import Event
from tertulia.domain.runs import Run
from tertulia.engine.lifecycle.prepare import Turns, new_run, prepare
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.lifecycle.start import Begun, begin
from tertulia.engine.requests import SendRequest
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.history import Histories
from tertulia.engine.turn.images import Images
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.events import EventChunk
from tertulia.ports.store import Store, Transaction


class Previews:
    """Goes the way of a run as far as its first request."""

    def __init__(
        self, store: Store, catalogue: Catalogue, toolbox: Toolbox, images: Images, settings: RunSettings
    ) -> None:
        self._store = store
        self._images = images
        self._catalogue = catalogue
        self._turns = Turns(store, toolbox)
        self._settings = settings

    async def of(self, request: SendRequest) -> bytes:
        """The body that the provider would be sent.

        :raises Conflict: if the request could not begin now, or was sent before.
        :raises InvalidArgument: if the model cannot be used.
        """
        seen = await self._store.read(lambda tx: tx.snapshot(request.conversation_id))
        run = new_run(request, seen)
        prepared = prepare(self._catalogue, request, seen, compile_anew=True)
        begun = await self._rehearse(
            partial(begin, run, request, seen.agent, prepared.compiled, self._settings.approval_deadline, "")
        )
        turn = self._turns.turn(request, begun, seen, prepared, log=_Silent())
        # Read afresh: what is kept of the conversation's history belongs to its runs.
        turn.history = await Histories(self._store, self._images).of(replace(begun.conversation, head=begun.first))
        turn.history.append(begun.messages, begun.conversation.head)
        turn.images = self._images.known(turn.history.image_urls)
        return turn.choice.provider.encode(turn.request())

    async def _rehearse(self, work: partial[Begun | Run]) -> Begun:
        """What the beginning of the run would come to; what it writes is undone."""

        def rehearse(tx: Transaction) -> NoReturn:
            raise _Rehearsed(work(tx))

        begun: Begun | Run | None = None
        try:
            await self._store.write(rehearse)
        except _Rehearsed as rehearsed:
            begun = rehearsed.begun
        if not isinstance(begun, Begun):
            raise Conflict("CONFLICT: this request was sent before, so nothing would be sent now.")
        return begun


class _Rehearsed(Exception):
    def __init__(self, begun: Begun | Run) -> None:
        super().__init__()
        self.begun = begun


class _Silent:
    """A log of nothing."""

    full = False

    def append(self, event: Event, chars: int = 0) -> None:
        """Keep nothing."""

    async def room(self) -> None: ...

    async def settle(self) -> None: ...

    def stage(self, *events: Event) -> EventChunk | None:
        """Keep nothing."""

    def stored(self, chunk: EventChunk | None) -> None:
        """Nothing was staged."""

    def discard(self, chunk: EventChunk | None) -> None:
        """Nothing was staged."""

    def lose(self) -> None:
        """There is nothing to lose."""

    def give_up(self, why: str) -> None:
        """Nobody reads."""

    def close(self) -> None:
        """Nobody reads."""
