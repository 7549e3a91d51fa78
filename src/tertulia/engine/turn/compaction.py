"""Compaction: a summary takes the place of older messages in what a model is shown. It deletes nothing.

The summary is a message at the conversation's head, stored in one transaction with the conversation's new view of its
history: the summary, then the positions from the cut on. It keeps the view it replaced, so it can be undone.

A run that asks a model makes room first if the request would come near the window, and again if the provider refuses
it as too long. Each attempt lets go of more than the one before, there are few of them, and one that does not make the
history shorter is the last: it cannot loop.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from msgspec.structs import asdict, replace

from tertulia.context.budget import TokenMeter
from tertulia.context.compaction import Cut, Wish, plan
from tertulia.context.summaries import ALL_PROMPT, DEFAULT_CLIP, SELF_PROMPT, WINDOW_PROMPT, as_shown
from tertulia.domain.agents import CompactionSettings
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import ContextTooLong, InvalidArgument, SystemPromptTooLong
from tertulia.domain.events import CompactionBegun, MessageAdded
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Compaction, Message, TextPart
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.domain.runs import Usage
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.history import Measure
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.summarizer import Summarizer, Summary
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.provider import ModelRequest, Provider

_log = structlog.get_logger(__name__)

THRESHOLD = 0.9
"""The part of the context window that a request may fill before its history is compacted."""

DEFAULT_MODE = "sliding_window"
DEFAULT_SHARE = 0.3
REQUESTED, NEAR, REFUSED = "requested", "pre_step_context_check", "context_window_exceeded"
"""What triggers a compaction."""

_PORTIONS = (None, 0.35, 0.0)
"""How much of the room for messages may stay filled, attempt by attempt; first what the settings say."""

_SUMMARY_SHARE = 1 / 8
"""The largest part of the window a summary may take, and a quarter of what is left for messages at most."""

_SLICE = 500
"""How many messages are weighed before others have their turn."""

_BYTES_PER_TOKEN = 4
_SLACK = 256
"""Tokens by which a summary that was asked for may be longer than a few short messages."""

_IMPLAUSIBLE = 5
"""A provider that counts so many times fewer tokens than expected leaves out what its cache held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One compaction to be made. ``tokens`` has the request as it is, ``portion`` of the room for messages may stay."""

    trigger: str
    settings: CompactionSettings
    tokens: int
    portion: float
    requested: bool = False

    @property
    def mode(self) -> str:
        return self.settings.mode or DEFAULT_MODE

    @property
    def share(self) -> float:
        share = self.settings.sliding_window_percentage
        return DEFAULT_SHARE if share is None else share


@dataclass(frozen=True, slots=True)
class _View:
    """What a model is shown, in tokens: of the messages, and of the ``frame`` around them. ``room`` is for messages."""

    shown: list[tuple[int, Message]]
    weights: list[float]
    frame: float
    room: float

    @property
    def messages(self) -> list[Message]:
        return [message for _, message in self.shown]

    def stays(self, cut: Cut) -> float:
        return self.frame + sum(self.weights[cut.start :]) + sum(self.weights[index] for index in cut.kept)


class Compactor:
    """Compacts the histories of turns. ``threshold`` is the part of a window that a request may fill."""

    def __init__(self, catalogue: Catalogue, threshold: float = THRESHOLD) -> None:
        self.meter = TokenMeter()
        self._catalogue = catalogue
        self._threshold = threshold

    def limit(self, turn: Turn) -> int:
        """The tokens a request of the turn may have. Where the reply's length is set, it has to fit as well."""
        window = turn.choice.context_window
        limit = int(window * self._threshold)
        reserved = (turn.choice.settings and turn.choice.settings.max_output_tokens) or 0
        return min(limit, window - reserved) if reserved <= window // 2 else limit

    def frame(self, turn: Turn, request: ModelRequest) -> int:
        """The estimated tokens of a request without its messages."""
        return self.meter.estimate(turn.choice.card.handle, (), system=request.system, tools=request.tools)

    def weight(self, turn: Turn, messages: Sequence[Message]) -> int:
        """The estimated tokens of messages in a request to the turn's model."""
        return self.meter.estimate(turn.choice.card.handle, messages, sent=turn.choice.parts_sent)

    async def tokens(self, turn: Turn, request: ModelRequest) -> int:
        """The tokens of a request: what the provider counted of the last one and what came since, else an estimate."""
        history, handle = turn.history, turn.choice.card.handle
        measure = history.measure
        if measure is None or measure.model != handle:
            return await self.meter.measure(
                handle,
                request.messages,
                window=self.limit(turn),
                sent=turn.choice.parts_sent,
                system=request.system,
                tools=request.tools,
            )
        added = history.since(measure.head, handle)
        new = self.weight(turn, added) if added else 0
        return measure.tokens + self.frame(turn, request) - measure.frame + new

    async def make_room(self, turn: Turn, request: ModelRequest, trigger: str, attempt: int, tokens: int) -> bool:
        """Compact the turn's history; False if that does not make it shorter."""
        settings = turn.agent.compaction_settings or CompactionSettings()
        share = DEFAULT_SHARE if settings.sliding_window_percentage is None else settings.sliding_window_percentage
        portion = _PORTIONS[attempt]
        order = _Order(
            trigger=trigger, settings=settings, tokens=tokens, portion=1 - share if portion is None else portion
        )
        return await self._compact(turn, request, order) is not None

    async def on_request(self, turn: Turn, request: ModelRequest, asked: CompactionSettings | None) -> Message:
        """The summary that takes the place of older messages, because somebody wants it so.

        :raises InvalidArgument: if there is nothing to compact, or a setting cannot be used.
        """
        settings = merge_settings(turn.agent.compaction_settings, asked)
        tokens = await self.tokens(turn, request)
        order = _Order(trigger=REQUESTED, settings=settings, tokens=tokens, portion=1, requested=True)
        summary = await self._compact(turn, request, order)
        if summary is None:
            raise InvalidArgument(
                "INVALID_ARGUMENT: There is nothing to compact in this conversation: it has too few answered messages.",
            )
        return summary

    async def _compact(self, turn: Turn, request: ModelRequest, order: _Order) -> Message | None:
        view = await self._view(turn, request, order.tokens)
        budget = min(turn.choice.context_window * _SUMMARY_SHARE, view.room / 4)
        wish = Wish(
            share=order.share,
            whole=order.mode in {"all", "self_compact_all"},
            room=order.portion * view.room - budget,
            resting=order.requested,
            pinned=len(turn.history.pinned),
        )
        cut = await asyncio.to_thread(plan, view.messages, view.weights, wish)
        if cut is None:
            return None
        summarizer = self._summarizer(turn, request, order, max(50, int(budget)))
        message_id = new_message_id()
        turn.log.append(_beginning(message_id, turn, order, len(view.shown) + 1))
        made = await summarizer.summarise(view.messages[: cut.start])
        message = self._message(message_id, turn, order, (view, cut), made)
        if not order.requested and not _is_shorter(message, order):
            fewer = int(sum(view.weights[: cut.start]) * _BYTES_PER_TOKEN / 4)
            reason = "The model's summary was too long."
            made = await asyncio.to_thread(summarizer.extract, view.messages[: cut.start], fewer, reason)
            message = self._message(message_id, turn, order, (view, cut), made)
        if not order.requested and not _is_shorter(message, order):
            return None
        await _store(turn, message, view, cut)
        _log.info("compacted", conversation_id=turn.conversation.id, run_id=turn.run.id, **_figures(message))
        return message

    async def _view(self, turn: Turn, request: ModelRequest, tokens: int) -> _View:
        """The view, its estimates brought in line with what is known of the whole request."""
        shown = turn.history.in_view()
        weights: list[float] = []
        for start in range(0, len(shown), _SLICE):
            weights += [self.weight(turn, (as_shown(each),)) for _, each in shown[start : start + _SLICE]]
            await asyncio.sleep(0)  # others are answered meanwhile
        frame = self.frame(turn, request)
        scale = max(1.0, tokens / (frame + sum(weights)))
        weights = [weight * scale for weight in weights]
        room = self.limit(turn) - frame * scale
        # Where the frame seems to take everything, which a refusal without numbers can make it seem, the room is what
        # the messages take now: some of them have to go.
        return _View(shown, weights, frame * scale, room if room > 0 else sum(weights))

    def _message(self, message_id: str, turn: Turn, order: _Order, parted: tuple[_View, Cut], made: Summary) -> Message:
        view, cut = parted
        message = Message(
            id=message_id,
            agent_id=turn.agent.id,
            conversation_id=turn.conversation.id,
            role="summary",
            content=(TextPart(made.text),),
            created_at=utc_now(),
            run_id=turn.run.id,
            model=made.model,
        )
        # Under another id, because the meter remembers messages by theirs, and this may not be the last draft.
        own = self.weight(turn, (replace(as_shown(message), id=new_message_id()),))
        return replace(
            message,
            compaction=Compaction(
                trigger=order.trigger,
                context_from=turn.history.start,
                pins=turn.history.pins,
                context_window=turn.choice.context_window,
                messages_before=len(view.shown) + 1,
                messages_after=len(view.shown) - cut.start + len(cut.kept) + 2,
                tokens_before=order.tokens,
                tokens_after=round(view.stays(cut)) + own,
                mode=order.mode,
                method=made.method,
                model=made.model,
                failure=made.failure,
                summarizer_tokens=made.tokens,
            ),
        )

    def _summarizer(self, turn: Turn, request: ModelRequest, order: _Order, budget: int) -> Summarizer:
        settings, mode = order.settings, order.mode
        own = mode.startswith("self_compact")
        provider, card, model_settings = self._model(turn, order, own=own)
        default = SELF_PROMPT if own else ALL_PROMPT if mode == "all" else WINDOW_PROMPT
        return Summarizer(
            provider=provider,
            card=card,
            settings=model_settings,
            window=turn.choice.context_window if card.handle == turn.choice.card.handle else card.context_window,
            prompt=settings.prompt or default,
            acknowledged=bool(settings.prompt_acknowledgement),
            clip=DEFAULT_CLIP if settings.clip_chars is None else settings.clip_chars,
            clip_bytes=budget * _BYTES_PER_TOKEN,
            run_id=turn.run.id,
            telemetry=turn.telemetry,
            own=request if own else None,
            strict=order.requested,
        )

    def _model(self, turn: Turn, order: _Order, *, own: bool) -> tuple[Provider, ModelCard, ModelSettings | None]:
        """The model that summarises: the one that is set, or the conversation's own.

        :raises InvalidArgument: if the model or its settings cannot be used, and somebody is there to be told.
        """
        provider, card, handle = turn.choice.provider, turn.choice.card, order.settings.model
        plain = turn.choice.settings and replace(turn.choice.settings, response_format=None, response_schema=None)
        if handle is None or own:
            return provider, card, plain if own else self._settings(card.handle, order) or plain
        # `letta/auto` leaves the choice to the server, whose default may be too small for this, or not there.
        any_model = handle.startswith("letta/")
        try:
            found = self._catalogue.resolve(handle)
        except InvalidArgument as error:
            if order.requested and not any_model:
                raise
            _log.warning("summarizer_unknown", model=handle, error=error.message)
            return provider, card, self._settings(card.handle, order) or plain
        if any_model and not found[1].can_summarize and card.can_summarize:
            return provider, card, self._settings(card.handle, order) or plain
        given = self._settings(found[1].handle, order)
        return *found, given or (plain if found[1].handle == card.handle else None)

    def _settings(self, handle: str, order: _Order) -> ModelSettings | None:
        given = order.settings.model_settings
        if given is None:
            return None
        try:
            self._catalogue.check_settings(handle, given)
        except InvalidArgument as error:
            if order.requested:
                raise
            _log.warning("summarizer_settings_unfit", model=handle, error=error.message)
            return None
        return given


class Room:
    """The room for one model call: made before it, and again when the provider says that it is not enough."""

    def __init__(self, turn: Turn, compactor: Compactor, images: Images) -> None:
        self._turn = turn
        self._compactor = compactor
        self._images = images
        self._attempt = 0
        self._expected = 0

    async def request(self) -> ModelRequest:
        """The request, from a history that is shortened first if it has to be.

        :raises SystemPromptTooLong: if no history could be short enough.
        """
        turn, compactor = self._turn, self._compactor
        await turn.load_images(self._images)
        while True:
            request = turn.request()
            self._expected = await compactor.tokens(turn, request)
            if self._expected < compactor.limit(turn):
                return request
            if turn.history.measure is None:
                await self._refuse_if_hopeless(request, turn.choice.context_window)
            if not await self._shorten(request, NEAR, self._expected):
                return request  # estimates may be wrong; the provider will say

    async def make_more(self, request: ModelRequest, error: ContextTooLong) -> None:
        """Shorten the history of a request that was refused.

        :raises ContextTooLong: the refusal, if that is not possible any more.
        """
        turn = self._turn
        if error.context_window is not None and 0 < error.context_window < turn.choice.context_window:
            turn.choice.context_window = error.context_window
        tokens = max(self._expected, turn.choice.context_window, error.tokens or 0)
        if not await self._shorten(request, REFUSED, tokens):
            await self._refuse_if_hopeless(request, self._compactor.limit(turn))
            raise error

    def learn(self, request: ModelRequest, head: int, usage: Usage) -> None:
        """Take note of what the provider counted of a request whose history ended before ``head``."""
        turn, compactor, counted = self._turn, self._compactor, usage.prompt_tokens
        if counted * _IMPLAUSIBLE < self._expected or counted <= 0:
            return
        if turn.history.measure is None:
            compactor.meter.observe(turn.choice.card.handle, self._expected, counted)
        turn.history.measure = Measure(turn.choice.card.handle, counted, compactor.frame(turn, request), head)

    async def _shorten(self, request: ModelRequest, trigger: str, tokens: int) -> bool:
        if self._attempt == len(_PORTIONS):
            return False
        attempt, self._attempt = self._attempt, self._attempt + 1
        return await self._compactor.make_room(self._turn, request, trigger, attempt, tokens)

    async def _refuse_if_hopeless(self, request: ModelRequest, most: int) -> None:
        turn = self._turn
        frame = await self._compactor.meter.measure(
            turn.choice.card.handle, (), window=most, system=request.system, tools=request.tools
        )
        if frame >= most:
            raise SystemPromptTooLong(frame, turn.choice.context_window)


def merge_settings(agent: CompactionSettings | None, asked: CompactionSettings | None) -> CompactionSettings:
    """The agent's settings with those of a request in their place, field by field."""
    fields = asdict(agent) if agent else {}
    fields |= {name: value for name, value in (asdict(asked) if asked else {}).items() if value is not None}
    return CompactionSettings(**fields)


async def _store(turn: Turn, message: Message, view: _View, cut: Cut) -> None:
    history = turn.history
    at = history.head  # of the summary
    start = view.shown[cut.start][0] if cut.start < len(view.shown) else at
    kept = [view.shown[index] for index in cut.kept]
    pins = tuple(sorted([*(position for position, _ in kept), at]))
    await turn.commit(
        lambda tx: tx.conversations.set_context(turn.conversation.id, start, pins),
        messages=[message],
        events=[MessageAdded(message)],
        then=lambda: history.move(start, [(at, message), *kept]),
    )


def _beginning(message_id: str, turn: Turn, order: _Order, messages: int) -> CompactionBegun:
    return CompactionBegun(
        message_id=message_id,
        at=utc_now().timestamp(),
        trigger=order.trigger,
        mode=order.mode,
        context_window=turn.choice.context_window,
        messages=messages,
        tokens=order.tokens,
    )


def _is_shorter(message: Message, order: _Order) -> bool:
    made = message.compaction
    after = made.tokens_after if made and made.tokens_after else 0
    return after < order.tokens + (_SLACK if order.requested else 0)


def _figures(message: Message) -> dict[str, object]:
    return asdict(message.compaction) if message.compaction else {}
