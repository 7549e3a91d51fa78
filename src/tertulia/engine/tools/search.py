"""Finding tools by words: those of a query in names, descriptions and tags."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, TypeAlias

from tertulia.domain.tools import StoredTool, ToolSpec
from tertulia.ports.plain import PlainQuery
from tertulia.ports.queries import Page
from tertulia.ports.rounds import turn
from tertulia.ports.store import Store

_AT_ONCE: Final = 100
_WORD: Final = re.compile(r"[^\W_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

AnyTool: TypeAlias = ToolSpec | StoredTool


@dataclass(frozen=True, slots=True)
class Found:
    """``score`` is above 0 and at most 1, and 1 for all where nothing was looked for."""

    tool: AnyTool
    score: float


async def search(
    store: Store, builtin: Sequence[ToolSpec], query: str, fits: Callable[[AnyTool], bool], limit: int
) -> list[Found]:
    """The tools that fit and have words of the query, the best first; all that fit where it has none."""
    words = _words(query)
    found = [Found(tool, score) for tool in builtin if fits(tool) and (score := _score(tool, words))]
    after: str | None = None
    while True:
        asked = PlainQuery(page=Page(limit=_AT_ONCE, after=after, ascending=True))
        tools = await store.read(lambda tx, asked=asked: tx.of(StoredTool).find(asked))
        await turn()
        found += [Found(tool, score) for tool in tools if fits(tool) and (score := _score(tool, words))]
        if len(tools) < _AT_ONCE:
            return nlargest(limit, found, key=lambda each: each.score)
        after = tools[-1].id
        found = nlargest(limit, found, key=lambda each: each.score)


def _score(tool: AnyTool, words: frozenset[str]) -> float:
    """The part of the words that the tool has; one in its name counts for three elsewhere."""
    if not words:
        return 1.0
    named, described = _words(tool.name), _words(" ".join((tool.description, *tool.tags)))
    return sum(3 if word in named else word in described for word in words) / (3 * len(words))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_CAMEL.sub(" ", text).casefold()))
