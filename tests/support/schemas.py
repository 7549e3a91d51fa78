"""Takes a test's database back to an older schema."""

from tertulia.store.sql.plain_nouns import PLAIN_NOUNS

FIRST_PLAIN_NOUN = "archives"


def without_later_nouns() -> list[str]:
    """Statements that drop the tables of all plain nouns but the first, which later migrations make."""
    tables = (noun.table.name for noun in PLAIN_NOUNS.values())
    return [f"DROP TABLE {table}" for table in tables if table != FIRST_PLAIN_NOUN]
