"""Takes a test's database back to an older schema."""

from tertulia.store.sql.plain_nouns import PLAIN_NOUNS

FIRST_PLAIN_NOUN = "archives"


def without_later_migrations() -> list[str]:
    """Statements that undo what migrations after the sixth do: the tables of all plain nouns but the first, columns."""
    tables = (noun.table.name for noun in PLAIN_NOUNS.values())
    return [
        *(f"DROP TABLE {table}" for table in tables if table != FIRST_PLAIN_NOUN),
        "DROP INDEX conversations_asked",
        "ALTER TABLE conversations DROP COLUMN asked_at",
    ]
