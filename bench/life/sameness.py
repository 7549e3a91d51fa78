"""Whether replies are the same but for ids, dates and numbers."""

import re
from dataclasses import dataclass, field

from bench.life.clients import Reply

_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|req-[0-9a-f]{16}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\d+")
_OK = 200
_MOST = 5
"""Differences that are told in full."""
_CONTEXT = 120

Shape = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]


def shape_of(reply: Reply) -> Shape:
    """Its headers and its body without what may differ."""
    headers = tuple((name, "#" if name == "date" else _VARYING.sub("#", value)) for name, value in reply.headers)
    return headers, tuple(_VARYING.sub("#", text) for text in reply.body)


@dataclass(slots=True)
class Sameness:
    """Holds each reply against the first of its client and kind."""

    wrong: list[str] = field(default_factory=list[str])
    count: int = 0
    differing: int = 0
    _first: dict[tuple[str, str], Shape] = field(default_factory=dict[tuple[str, str], Shape])

    def look_at(self, client: str, reply: Reply) -> None:
        self.count += 1
        shape = shape_of(reply)
        first = self._first.setdefault((client, reply.kind), shape)
        if reply.status == _OK and shape == first:
            return
        self.differing += 1
        if len(self.wrong) < _MOST:
            what = f"{client}, reply {self.count} ({reply.kind})"
            said = _difference(first, shape) if reply.status == _OK else " ".join(reply.body)[:_CONTEXT]
            self.wrong.append(f"{what}: {reply.status} {said}")


def _difference(first: Shape, other: Shape) -> str:
    """Where they part."""
    one, two = ("\n".join((*(f"{name}: {value}" for name, value in shape[0]), *shape[1])) for shape in (first, other))
    at = next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    start = max(0, at - _CONTEXT // 2)
    return f"{two[start : at + _CONTEXT]!r} instead of {one[start : at + _CONTEXT]!r}"
