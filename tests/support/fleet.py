"""Several workers over one store, in one process, and ways to let one die."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.ports.signals import Listener, Topic
from tertulia.ports.store import Store, Transaction
from tertulia.ports.tool import Tool
from tests.support.scripted import ScriptedCatalogue
from tests.support.services import services_over
from tests.support.world import World

T = TypeVar("T")


class SharedStore:
    """A store that says that others use it as well; workers can be cut off from it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.shared = True

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.write(work)

    async def check_writing(self, seconds: float) -> None:
        await self._store.check_writing(seconds)

    async def close(self) -> None:
        """Others use it still."""

    def describe(self) -> dict[str, Any]:
        return self._store.describe()


class Wire:
    """The signals of all workers."""

    def __init__(self) -> None:
        self.ends: list[End] = []

    def end(self) -> "End":
        end = End(self)
        self.ends.append(end)
        return end


class End:
    """One worker's signals, which reach the others at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.listeners: list[tuple[Topic, Listener]] = []

    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        for end in self._wire.ends:
            for wanted, listener in end.listeners:
                if end is not self and wanted == topic:
                    listener(ids)

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        self.listeners.append((topic, listener))

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        self._wire.ends.remove(self)


class Fleet:
    """Makes workers that share a store, a model and their signals."""

    def __init__(self, store: Store, tools: Sequence[Tool] = ()) -> None:
        self.store = SharedStore(store)
        self._catalogue = ScriptedCatalogue()
        self._wire = Wire()
        self._tools = tools
        self.workers: list[World] = []

    async def worker(self) -> World:
        services = services_over(
            self.store,
            self._catalogue,
            runs=RunSettings(lease=600),
            signals=self._wire.end(),
            tools=self._tools,
        )
        await services.runs.open()
        world = World(services, self._catalogue.provider)
        self.workers.append(world)
        return world

    async def bury(self, world: World) -> None:
        """Let the lease of a worker be over, though it goes on as if nothing had happened."""
        worker_id = world.services.runs.worker_id
        await self.store.write(lambda tx: tx.workers.remove(worker_id))

    async def close(self) -> None:
        for world in self.workers:
            await world.services.runs.close()
            await world.services.catalogue.close()
