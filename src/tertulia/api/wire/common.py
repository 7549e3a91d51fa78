"""What every wire shape is made of: strict request models, complete response models, instants, JSON values."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_json

from tertulia.api.wire.ignored import note
from tertulia.domain.json_values import MAX_DEPTH, MAX_SIZE, complaint


class RequestModel(BaseModel):
    """A part of a request all of which has to reach somebody: fields nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class BodyModel(RequestModel):
    """The body of an operation, or a part of one.

    Clients of other releases of the API send fields that this one does not have. Those are let through, as the retired
    server did, and named in the reply and the log; a field that is known and cannot be honoured is refused.
    """

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _name_the_unknown(cls, body: Any) -> Any:
        if isinstance(body, dict):
            note(name for name in cast("dict[Any, Any]", body) if name not in cls.model_fields)
        return cast("Any", body)


class ResponseModel(BaseModel):
    """A response body. Every field of the contract is present, null where there is nothing to say."""

    model_config = ConfigDict(protected_namespaces=(), ser_json_inf_nan="null")

    def __init__(self, **data: Any) -> None:
        self.__pydantic_validator__.validate_python(data, self_instance=self, context=STORED)


def timestamp(instant: datetime) -> str:
    """RFC 3339 with microseconds and ``Z``, the form of every instant except a message's ``date``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant: TypeAlias = Annotated[datetime, PlainSerializer(timestamp, return_type=str, when_used="json-unless-none")]
"""An instant in a response."""


def is_none(value: object) -> bool:
    """Leaves a field of ours out of a response while it has nothing to say: ``Field(None, exclude_if=is_none)``."""
    return value is None


STORED: Final[Mapping[str, bool]] = MappingProxyType({"stored": True})
"""The validation context of what comes from the store: it is shown as well as it can be, and never refused."""

_UNSHOWABLE: Final = "What is stored here cannot be shown because it is nested too deeply. Set it again."
_FRAME: Final = 10
"""How many objects and arrays a client's own is shown inside of, at most."""


def _keepable(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.context is STORED:
        return showable(value)
    wrong = complaint(value)
    if wrong is not None:
        raise PydanticCustomError("json_object", "{complaint}", {"complaint": wrong})
    return value


def showable(value: dict[str, Any]) -> dict[str, Any]:
    """A stored object, or a word in its place if it cannot be shown: one such object is not to spoil a whole list."""
    framed: Any = value
    for _ in range(_FRAME):
        framed = [framed]
    try:
        to_json(framed, inf_nan_mode="null")
    except (ValueError, RecursionError):
        return {"unshowable": _UNSHOWABLE}
    return value


JsonObject: TypeAlias = Annotated[
    dict[str, Any],
    AfterValidator(_keepable),
    Field(description=f"At most {MAX_DEPTH} deep and {MAX_SIZE} bytes as JSON."),
]
"""A JSON object of the client's own: what is kept of it can be shown."""

T = TypeVar("T")


class _FirstError(FailFast):
    """Hashable, so that it can stand in a union of annotated types."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] the dataclass has none
        return id(self)


Listed: TypeAlias = Annotated[list[T], _FirstError()]
"""A list of the client's. The first wrong item is told, not a million of them."""

MAX_IDS: Final = 1_000
"""Of ids, tags, labels, tools, rules, answers and the like in one list: many times what anybody needs."""

MAX_RULES: Final = 250
"""For tools, and the tools that one rule names: every step looks at all of them."""

MAX_NAME: Final = 500
MAX_PROSE: Final = 100_000
MAX_SEARCHED: Final = 10_000
MAX_TEXT: Final = 2_000_000


NO_NUL: Final = "^[^\\x00]*$"

Name: TypeAlias = Annotated[str, Field(max_length=MAX_NAME, pattern=NO_NUL)]
"""A name, an id, a label, a tag: something that is looked up."""

Prose: TypeAlias = Annotated[str, Field(max_length=MAX_PROSE)]
"""What people write about something, and ids that others make, which may be long."""

Searched: TypeAlias = Annotated[str, Field(max_length=MAX_SEARCHED)]
"""What is looked for, as in the parameters of an address."""

Text: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT)]
"""What a model is to read in every request: longer than any context window."""

Names: TypeAlias = Annotated[Listed[Name], Field(max_length=MAX_IDS)]

MAX_INT = 2**31 - 1
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of tokens, characters, files or the like."""

MAX_FALLBACKS = 10
Fallbacks: TypeAlias = Annotated[Listed[Name], Field(max_length=MAX_FALLBACKS)]
"""Handles of models, the first to be asked first."""

PositiveCount: TypeAlias = Annotated[int, Field(ge=1, le=MAX_INT)]
