"""Instants as clients send them."""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except OverflowError:
        message = "is outside the years 1 to 9999 in UTC"
        raise ValueError(message) from None


SentInstant: TypeAlias = Annotated[datetime, AfterValidator(_in_utc)]
"""Becomes UTC; without a zone it is taken for UTC."""
