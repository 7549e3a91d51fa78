"""What modules keep between requests: a test that leaves anything there would be one request changing the next."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from operator import is_
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeAlias, cast

PACKAGE: Final = "tertulia"
MEANT_TO_CHANGE: Final[Mapping[str, str]] = MappingProxyType(
    {"tertulia.api.bodies._DOCUMENTED": "grows while modules with operations are imported, and never after"}
)
"""Where something may be left, and why that has an end."""

_DEEPEST: Final = 10
_Seen: TypeAlias = tuple[Any, tuple[Any, ...]]
"""A container, and what it held at the last look: kept, so that no other object can have its identity."""


class ModuleState:
    """The contents of every dict, list and set that the package's modules and classes hold, nested ones too."""

    def __init__(self) -> None:
        self._places: dict[str, object] = {}
        self._seen: dict[str, tuple[_Seen, ...]] = {}
        self._modules: dict[str, int] = {}
        self._held: set[int] = set()  # a constant is looked at once, however many modules import it
        self._loaded = 0

    def look(self) -> list[str]:
        """The places whose contents are not what they were at the last look; those of new modules are only noted."""
        changed = [place for place, containers in self._seen.items() if not all(map(_is_as_it_was, containers))]
        for place in changed:
            self._seen[place] = tuple(_containers(self._places[place]))
        if len(sys.modules) != self._loaded:
            self._note_new_modules()
        return changed

    def _note_new_modules(self) -> None:
        self._loaded = len(sys.modules)
        for name, module in [*sys.modules.items()]:
            if (name == PACKAGE or name.startswith(PACKAGE + ".")) and self._modules.get(name) != id(module):
                self._modules[name] = id(module)
                for place, held in _held_by(name, module):
                    if place not in MEANT_TO_CHANGE and id(held) not in self._held:
                        self._held.add(id(held))
                        self._places[place] = held
                        self._seen[place] = tuple(_containers(held))


def _held_by(name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    for attribute, value in [*vars(module).items()]:
        if attribute.startswith("__"):
            continue
        if _can_change(value):
            yield f"{name}.{attribute}", value
        elif isinstance(value, type) and value.__module__ == name:
            for inner, held in [*vars(value).items()]:
                if not inner.startswith("__") and _can_change(held) and not _of_a_library(inner):
                    yield f"{name}.{attribute}.{inner}", held


def _can_change(value: Any, deeper: int = _DEEPEST) -> bool:
    """Whether it is a container of Python's own in which something that changes can be."""
    if isinstance(value, dict | list | set | bytearray):
        return True
    if deeper and isinstance(value, tuple | MappingProxyType):
        items = cast("Iterable[Any]", value.values() if isinstance(value, MappingProxyType) else value)
        return any(_can_change(item, deeper - 1) for item in items)
    return False


def _of_a_library(attribute: str) -> bool:
    """What Pydantic and abc keep in the classes that are made with them."""
    return attribute.startswith(("_abc_", "model_", "__pydantic", "_decorator"))


def _containers(value: Any, deeper: int = _DEEPEST) -> Iterator[_Seen]:
    """Whatever can change in it, itself included, each with what it holds now."""
    if isinstance(value, dict | MappingProxyType | list | set | bytearray):
        yield value, _contents(value)
    if deeper and isinstance(value, dict | MappingProxyType | list | tuple):
        for item in _contents(value):
            yield from _containers(item, deeper - 1)


def _contents(container: Any) -> tuple[Any, ...]:
    if isinstance(container, dict | MappingProxyType):
        mapping = cast("Mapping[Any, Any]", container)
        return (*mapping, *mapping.values())
    return tuple(container)


def _is_as_it_was(seen: _Seen) -> bool:
    """Whether it holds the very same objects: equal ones can be others, and asking for equality can take long."""
    container, before = seen
    now = _contents(container)
    return len(now) == len(before) and all(map(is_, now, before))
