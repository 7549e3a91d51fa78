"""What every wire shape is made of: strict request models, complete response models, instants, JSON values."""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


class RequestModel(BaseModel):
    """A request body. Fields nobody knows are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ResponseModel(BaseModel):
    """A response body. Every field of the contract is present, null where there is nothing to say."""

    model_config = ConfigDict(protected_namespaces=(), ser_json_inf_nan="null")


def timestamp(instant: datetime) -> str:
    """RFC 3339 with microseconds and ``Z``, the form of every instant except a message's ``date``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant: TypeAlias = Annotated[datetime, PlainSerializer(timestamp, return_type=str, when_used="json-unless-none")]
"""An instant in a response."""


JsonObject: TypeAlias = dict[str, Any]
"""A JSON object of the client's own."""

MAX_INT = 2**31 - 1
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of tokens, characters, files or the like."""

PositiveCount: TypeAlias = Annotated[int, Field(ge=1, le=MAX_INT)]
