"""Traces: a step's request to its provider, put together again from what never changes, and the reply as it came."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from tertulia.context.pairing import paired
from tertulia.context.summaries import as_shown
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.domain.images import remote_images, without_images
from tertulia.domain.messages import Message
from tertulia.domain.runs import Step, StepTrace
from tertulia.engine.turn.history import pinned_messages
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.step import Frame
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.store import Store, Transaction

_frames = msgspec.json.Decoder(Frame)
_FORGOTTEN = "the model was shown it, and it is no longer kept"


@dataclass(frozen=True, slots=True)
class Trace:
    """What was sent and what came back, as the provider's own objects."""

    step: Step
    stored: StepTrace
    request: dict[str, Any]
    reply: dict[str, Any]


async def trace_of(store: Store, catalogue: Catalogue, images: Images, step_id: str) -> Trace | None:
    """The trace of a step; None if it was not kept, or the conversation that it quotes is gone.

    Images that were fetched for it are shown as far as they are still in memory.

    :raises NotFound: if there is no such step.
    """
    parts = await store.read(partial(_parts, step_id))
    if parts is None:
        return None
    step, stored, frame, history = parts
    try:
        provider, card = catalogue.resolve(frame.handle)
    except InvalidArgument:
        # The provider is not configured any more: the request is shown in our own terms.
        request = msgspec.to_builtins(frame) | {"messages": msgspec.to_builtins(paired(history))}
    else:
        named = dict.fromkeys(url for message in history for url in remote_images(message))
        shown = dict.fromkeys(named, _FORGOTTEN) | images.known(named) | stored.missing_images
        seen = [without_images(each) if each.id in stored.missing_images else each for each in paired(history)]
        request = msgspec.json.decode(provider.encode(frame.request(card.name, seen, shown)))
    return Trace(step, stored, request, stored.reply)


def _parts(step_id: str, tx: Transaction) -> tuple[Step, StepTrace, Frame, list[Message]] | None:
    step, stored = tx.steps.get(step_id), tx.steps.trace(step_id)
    if stored is None:
        return None
    try:
        pinned = pinned_messages(stored.conversation_id, stored.pins, tx)
        history = tx.messages.range(stored.conversation_id, stored.context_from, stored.head)
    except NotFound:
        return None
    # Summaries are shown where they are pinned and nowhere else.
    shown = [as_shown(message) for _, message in pinned] + [each for each in history if each.role != "summary"]
    return step, stored, _frames.decode(tx.steps.frame(stored.frame)), shown
