"""Archives: named stores of passages that agents share."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class Archive(Struct, frozen=True, kw_only=True):
    """An archive. ``embedding`` is the handle of the model that its passages are embedded with; None for no vectors."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    embedding: str | None = None
    metadata: dict[str, Any] | None = None
