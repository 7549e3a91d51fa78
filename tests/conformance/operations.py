"""Which of the SDK's 129 operations this server answers; the others answer 501 and say so."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tertulia.api.operations import OPERATIONS

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client._resource import SyncAPIResource

SUPPORTED: frozenset[str] = frozenset(known.sdk for known in OPERATIONS if known.built)


def sdk_methods(client: Letta) -> set[str]:
    """The names of every operation the installed SDK offers, such as `agents.blocks.list`."""
    found: set[str] = {"health"}
    for name, resource in _resources(client):
        _collect(name, resource, found)
    return found


def _collect(prefix: str, resource: SyncAPIResource, found: set[str]) -> None:
    for name, _method in inspect.getmembers(type(resource), inspect.isfunction):
        if not name.startswith(("_", "with_")):
            found.add(f"{prefix}.{name}")
    for name, child in _resources(resource):
        _collect(f"{prefix}.{name}", child, found)


def _resources(owner: object) -> list[tuple[str, SyncAPIResource]]:
    """The resources an SDK object has: its cached properties, but for the raw and streaming views of itself."""
    names = [name for name, value in inspect.getmembers(type(owner)) if _is_cached_property(value)]
    return [(name, getattr(owner, name)) for name in names if not name.startswith(("_", "with_"))]


def _is_cached_property(value: object) -> bool:
    return type(value).__name__ == "cached_property"
