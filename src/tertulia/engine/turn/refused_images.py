"""Leaving out images that a model's provider refuses, so that no image spoils a conversation for good.

Providers refuse a request for an image in it: damaged, too large, of a kind that they do not take, at an address that
they cannot reach, or any at all where the model cannot see. It is in the history, so every later request would be
refused as well. What is stored keeps its images; only what this model is shown of them becomes a note.
"""

import re
from typing import Final

import structlog

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderBadRequest,
    ProviderError,
    ProviderFailed,
    ProviderModelNotFound,
)
from tertulia.domain.images import has_image
from tertulia.engine.turn.context import Turn

_SPEAKS_OF_IMAGES: Final = re.compile(
    r"image|picture|photo|vision|visual|multi-?modal|mmproj|media[ _]?type|mime|download|fetch|robots\.txt|file format"
    r"|https urls?|(?:be|expected) an? (?:valid )?string",  # content is a list of parts only where it has an image
    re.IGNORECASE,
)
"""Of servers that have no word for it but their message, such as "unknown variant `image_url`, expected `text`"."""

_log = structlog.get_logger(__name__)


def leave_out_images(turn: Turn, error: ProviderError) -> bool:
    """Show the model none of the images that its provider may have refused just now; False if there are none.

    Those are the ones it was not shown in a request that it took, or else all of them.
    """
    if not isinstance(error, ProviderBadRequest | ProviderFailed):
        return False
    if isinstance(error, ContextTooLong | ProviderModelNotFound):
        return False
    if not _SPEAKS_OF_IMAGES.search(f"{error.message} {error.detail}"):
        return False
    history, handle = turn.history, turn.choice.card.handle
    unseen = history.unseen_by(handle)
    shown = [(at, message.id) for at, message in history.in_view() if message.id not in unseen and has_image(message)]
    model, head = history.taken
    taken = head if model == handle else 0
    suspects = [id_ for at, id_ in shown if at >= taken] or [id_ for _, id_ in shown]
    history.hide_images(handle, suspects)
    if suspects:
        _log.warning("images_left_out", run_id=turn.run.id, model=handle, messages=len(suspects), error=error.message)
    return bool(suspects)
