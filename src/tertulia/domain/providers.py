"""Providers that are kept in the database instead of the configuration, and what they are spoken to with."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec import Struct

from tertulia.domain.errors import InvalidArgument

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_NAME: Final = 100


class StoredProvider(Struct, frozen=True, kw_only=True):
    """A provider as it is stored; its models have the handles ``name/model``.

    ``secret`` is its credentials, encrypted. ``last_synced`` is when its models were last asked for on demand.
    """

    id: str
    name: str
    provider_type: str
    secret: str
    created_at: datetime
    updated_at: datetime
    base_url: str | None = None
    region: str | None = None
    api_version: str | None = None
    last_synced: datetime | None = None


class Credentials(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What proves who calls a provider. ``api_key`` holds the tokens, as JSON, of one that is signed in to."""

    api_key: str | None = None
    access_key: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccount:
    """Everything a provider is spoken to with. None is what its type is known to have."""

    name: str
    provider_type: str
    base_url: str | None = None
    region: str | None = None
    api_version: str | None = None
    credentials: Credentials = field(default=Credentials(), repr=False)


def check_name(name: str) -> str:
    """The name itself.

    :raises InvalidArgument: if it cannot be the first part of a handle.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the name '{name[:_LONGEST_NAME]}' cannot begin model handles: use "
            f"letters, digits, '.', '_' and '-', at most {_LONGEST_NAME}, the first a letter or digit.",
        )
    return name
