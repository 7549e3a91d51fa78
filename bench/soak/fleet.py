"""The workers under test: killed, frozen and started again at random, their memory watched."""

import os
import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.support.server_process import ServerProcess

_KILLS_TO_A_FREEZE: Final = 3
_SAMPLE_SECONDS: Final = 5.0


@dataclass(slots=True)
class Trouble:
    """What was done to the workers, and how much memory each life of one had at first and at most, in MB."""

    kills: int = 0
    freezes: int = 0
    memory: dict[str, list[float]] = field(default_factory=dict[str, list[float]])


class Fleet:
    """Use as a context manager. The first worker is never killed if there are three or more: its memory tells."""

    def __init__(
        self,
        folder: Path,
        count: int,
        environment: dict[str, str],
        lease: float,
        seed: int,
        kind: type[ServerProcess] = ServerProcess,
    ) -> None:
        settings = environment | {"TERTULIA_LEASE": str(lease)}
        module = "tests.support.faulty_server"
        self.workers = [kind(folder / f"worker{n}", settings, module=module) for n in range(count)]
        self.trouble = Trouble()
        self._lease = lease
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._stack = ExitStack()
        self._lives = [0] * count
        self._starting: set[ServerProcess] = set()

    def __enter__(self) -> Self:
        starting = [threading.Thread(target=worker.start) for worker in self.workers]
        for worker in self.workers:
            _ = self._stack.callback(worker.stop)
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        _ = self._stack.callback(self._over.set)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def any_url(self) -> str:
        return self._random.choice(self.workers).url

    def make_trouble(self, every: float, until: threading.Event) -> None:
        """Kill or freeze a worker every so many seconds, start it again at once, and note what memory they have."""
        sampled = 0.0
        starting: list[threading.Thread] = []
        while not until.wait(every):
            mortal = self.workers[1:] if len(self.workers) > 2 else self.workers  # noqa: PLR2004  see the class
            victims = [worker for worker in mortal if worker not in self._starting]
            if victims:
                victim = self._random.choice(victims)
                if self._random.randrange(_KILLS_TO_A_FREEZE + 1):
                    starting.append(self._kill(victim))
                else:
                    self._freeze(victim, until)
            if time.monotonic() - sampled > _SAMPLE_SECONDS:
                sampled = time.monotonic()
                self.sample()
        for thread in starting:
            thread.join()

    def _kill(self, victim: ServerProcess) -> threading.Thread:
        """Kill it, and start it again meanwhile."""
        victim.kill()
        self.trouble.kills += 1
        self._lives[self.workers.index(victim)] += 1
        self._starting.add(victim)

        def start() -> None:
            victim.start()
            self._starting.discard(victim)

        thread = threading.Thread(target=start)
        thread.start()
        return thread

    def _freeze(self, victim: ServerProcess, until: threading.Event) -> None:
        victim.pause()
        self.trouble.freezes += 1
        _ = until.wait(2.5 * self._lease)
        victim.go_on()

    def sample(self) -> None:
        for number, worker in enumerate(self.workers):
            if worker not in self._starting:
                self.trouble.memory.setdefault(f"{number}.{self._lives[number]}", []).append(_resident_mb(worker.pid))


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
