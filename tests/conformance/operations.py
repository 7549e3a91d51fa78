"""Which of the SDK's 129 operations this server answers; the others answer 501 and say so."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client._resource import SyncAPIResource

SUPPORTED: frozenset[str] = frozenset(
    {
        "health",
        "agents.create",
        "agents.list",
        "agents.retrieve",
        "agents.update",
        "agents.delete",
        "agents.recompile",
        "agents.blocks.list",
        "agents.blocks.retrieve",
        "agents.blocks.update",
        "agents.blocks.attach",
        "agents.blocks.detach",
        "agents.messages.create",
        "agents.messages.compact",
        "agents.messages.create_async",
        "agents.messages.stream",
        "agents.messages.cancel",
        "agents.messages.list",
        "agents.messages.reset",
        "agents.tools.list",
        "agents.tools.attach",
        "agents.tools.update_approval",
        "agents.tools.detach",
        "blocks.create",
        "blocks.list",
        "blocks.retrieve",
        "blocks.update",
        "blocks.delete",
        "blocks.agents.list",
        "conversations.create",
        "conversations.list",
        "conversations.retrieve",
        "conversations.update",
        "conversations.delete",
        "conversations.cancel",
        "conversations.fork",
        "conversations.recompile",
        "conversations.messages.create",
        "conversations.messages.compact",
        "conversations.messages.stream",
        "conversations.messages.list",
        "messages.list",
        "messages.retrieve",
        "messages.search",
        "models.list",
        "models.embeddings.list",
        "runs.list",
        "runs.retrieve",
        "runs.messages.list",
        "runs.messages.stream",
        "runs.steps.list",
        "runs.trace.retrieve",
        "runs.usage.retrieve",
        "steps.list",
        "steps.retrieve",
        "steps.feedback.create",
        "steps.messages.list",
        "steps.metrics.retrieve",
        "steps.trace.retrieve",
        "tags.list",
        "tools.list",
        "tools.retrieve",
    }
)


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
