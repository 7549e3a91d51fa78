"""The plain nouns there are. One more is a line here, a migration, and nothing else in the store."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from tertulia.domain.archives import Archive
from tertulia.domain.tools import StoredTool
from tertulia.store.sql.plain import PlainNoun
from tertulia.store.sql.tables import metadata

_DECLARED: Final[tuple[PlainNoun[Any], ...]] = (
    PlainNoun(Archive, "archives", metadata, "name"),
    PlainNoun(StoredTool, "tools", metadata, "name", unique="name", name="Tool"),
)

PLAIN_NOUNS: Final = MappingProxyType({noun.struct: noun for noun in _DECLARED})


def all_tables() -> Sequence[sa.Table]:
    """Every table, each after those that it refers to."""
    return metadata.sorted_tables
