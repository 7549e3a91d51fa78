"""What every wire shape is made of: strict request models, complete response models, instants, JSON values."""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import structlog
from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainSerializer, model_validator

log = structlog.get_logger(__name__)


class RequestModel(BaseModel):
    """A part of a request. Fields nobody knows are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class BodyModel(RequestModel):
    """The body of an operation.

    Clients of other releases of the API send fields that this one does not have. Those are let through, as the retired
    server did, and named in the log; a field that is known and cannot be honoured is refused.
    """

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _name_the_unknown(cls, body: Any) -> Any:
        if isinstance(body, dict):
            unknown = sorted(set(map(str, cast("dict[Any, Any]", body))) - cls.model_fields.keys())
            if unknown:
                log.warning("unknown_fields_ignored", body=cls.__name__, fields=unknown[:20])
        return cast("Any", body)


class ResponseModel(BaseModel):
    """A response body. Every field of the contract is present, null where there is nothing to say."""

    model_config = ConfigDict(protected_namespaces=(), ser_json_inf_nan="null")


def timestamp(instant: datetime) -> str:
    """RFC 3339 with microseconds and ``Z``, the form of every instant except a message's ``date``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant: TypeAlias = Annotated[datetime, PlainSerializer(timestamp, return_type=str, when_used="json-unless-none")]
"""An instant in a response."""


def is_none(value: object) -> bool:
    """Leaves a field of ours out of a response while it has nothing to say: ``Field(None, exclude_if=is_none)``."""
    return value is None


JsonObject: TypeAlias = dict[str, Any]
"""A JSON object of the client's own."""

T = TypeVar("T")


class _FirstError(FailFast):
    """Hashable, so that it can stand in a union of annotated types."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] the dataclass has none
        return id(self)


Listed: TypeAlias = Annotated[list[T], _FirstError()]
"""A list of the client's. The first wrong item is told, not a million of them."""

MAX_INT = 2**31 - 1
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of tokens, characters, files or the like."""

MAX_FALLBACKS = 10
Fallbacks: TypeAlias = Annotated[Listed[str], Field(max_length=MAX_FALLBACKS)]
"""Handles of models, the first to be asked first."""

PositiveCount: TypeAlias = Annotated[int, Field(ge=1, le=MAX_INT)]
