"""Which of the messages that have all the words come first, the same whichever database found them.

FTS5's bm25 and Postgres's ts_rank weigh words differently, and would show the same history in another order after it
was moved. So the databases only find, newest first, and what is best of that is decided here.
"""

from typing import Final

from tertulia.domain.messages import Message
from tertulia.ports.queries import SearchQuery
from tertulia.store.sql.search import Found
from tertulia.store.sql.words import wanted

# As in Okapi's BM25, with a fixed length for the average. How rare a word is makes no difference where all are wanted.
_SATURATION: Final = 1.2
_LENGTH_SHARE: Final = 0.75
_AVERAGE_WORDS: Final = 100


def best(found: list[Found], query: SearchQuery) -> list[Message]:
    """The best matches first, of equals the one that was found first."""
    asked = wanted(query.text)
    phrases = asked.phrases if asked else ()
    ordered = sorted(found, key=lambda each: _score(each.read, phrases), reverse=True)
    return [each.message for each in ordered[: query.limit]]


def _score(read: str, phrases: tuple[str, ...]) -> float:
    # Between two words there are two spaces.
    length = read.count("  ") + 1
    damping = _SATURATION * (1 - _LENGTH_SHARE + _LENGTH_SHARE * length / _AVERAGE_WORDS)
    # Sorted, because sums of fractions depend on their order.
    counts = sorted(read.count(phrase) for phrase in phrases)
    return sum(count / (count + damping) for count in counts)
