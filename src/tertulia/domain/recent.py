"""A bounded memory of what was used last."""

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, at least as many of those used last as weigh half of ``most``, and never more than ``most``.

    Two dictionaries, of which the older is let go of as a whole when the younger is half full: a place costs half of
    what it costs in an ``OrderedDict``, and using one nothing.
    """

    __slots__ = ("_half", "_old", "_weigh", "_weight", "_young", "most")

    def __init__(self, most: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self.most = most
        self._half = most // 2
        self._weigh = weigh
        self._weight = 0
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def get(self, key: str) -> V | None:
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: str, value: V) -> None:
        weight = self._weigh(value)
        if weight > self._half:
            return
        before = self._young.pop(key, None)
        self._weight += weight - (0 if before is None else self._weigh(before))
        if self._weight > self._half:
            self._young, self._old, self._weight = {}, self._young, weight
        self._young[key] = value
