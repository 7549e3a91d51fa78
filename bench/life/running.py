"""One long life from an empty database to the last reply; the test suite lives a short one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import httpx

from bench.api import BLOCKS
from bench.life.clients import Client, ClientFailed
from bench.life.figures import more_than, resident_mb, steady
from bench.life.sameness import Sameness
from bench.processes import fake_endpoint, server

_MODEL: Final = "openai/fake"
_MOST_MB: Final = 1.0
"""By how much memory may grow in 10,000 messages, when all that is loaded and kept is there."""
_ENOUGH: Final = 5_000
"""With fewer messages after the warm-up nothing is said of memory: the system hands it out in pieces."""
_SAMPLE_EVERY: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one client does: so many streams, and so many plain replies."""

    client: Client
    streams: int
    plain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Each part after the other.

    Before what the server holds is noted for the first time, the first client reads ``rehearsal`` replies of each kind.
    The first ``warm_up`` of all messages are not looked at for the memory they leave behind.
    """

    parts: Sequence[Part]
    rehearsal: int = 50
    warm_up: int = 12_000


@dataclass(slots=True)
class Outcome:
    """``wrong`` holds a line for each thing that must not be. Memory is in MB, by the number of messages so far.

    ``slope_mb`` is by how many MB it grew in 10,000 messages after the warm-up, if there were enough to say.
    """

    messages: int = 0
    by_client: dict[str, int] = field(default_factory=dict[str, int])
    held: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    memory: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    slope_mb: float | None = None
    wrong: list[str] = field(default_factory=list[str])


def life(tertulia: Path, folder: Path, serve: Sequence[str], plan: Plan) -> Outcome:
    """Live it in an empty folder. ``serve`` are further options of `tertulia serve`, as for its database."""
    with fake_endpoint() as endpoint, server(tertulia, folder, endpoint.port, serve) as child:
        lived = _Life(f"http://127.0.0.1:{child.port}")
        lived.live(plan)
        return lived.outcome


class _Life:
    """The life of the server at ``url``, as it goes on."""

    def __init__(self, url: str) -> None:
        self.outcome = Outcome()
        self._url = url
        self._sameness = Sameness()
        made = httpx.post(f"{url}/v1/agents/", json={"name": "Life", "model": _MODEL, "memory_blocks": BLOCKS})
        self._agent_id = cast("dict[str, str]", made.raise_for_status().json())["id"]

    def live(self, plan: Plan) -> None:
        outcome = self.outcome
        self._sample()
        self._talk(replace(plan.parts[0], streams=plan.rehearsal, plain=plan.rehearsal))
        before = outcome.held["rehearsal"] = steady(self._url)
        for part in plan.parts:
            self._talk(part)
            outcome.held[part.client.name], more = more_than(self._url, before)
            outcome.wrong += [f"after {part.client.name}: {each}" for each in more]
        outcome.wrong += self._sameness.wrong
        if self._sameness.differing > len(self._sameness.wrong):
            outcome.wrong.append(f"{self._sameness.differing} replies differ in all")
        later = [sample for sample in outcome.memory if sample[0] >= plan.warm_up]
        if outcome.messages - plan.warm_up >= _ENOUGH:
            outcome.slope_mb = round(statistics.linear_regression(*zip(*later, strict=True)).slope * 10_000, 2)
            if outcome.slope_mb >= _MOST_MB:
                outcome.wrong.append(f"memory grew by {outcome.slope_mb:g} MB in 10,000 messages")

    def _talk(self, part: Part) -> None:
        outcome, name = self.outcome, part.client.name
        try:
            for reply in part.client.talk(self._url, self._agent_id, part.streams, part.plain):
                self._sameness.look_at(name, reply)
                outcome.messages += 1
                outcome.by_client[name] = outcome.by_client.get(name, 0) + 1
                if outcome.messages % _SAMPLE_EVERY == 0:
                    self._sample()
        except ClientFailed as failure:
            outcome.wrong.append(str(failure))

    def _sample(self) -> None:
        self.outcome.memory.append((self.outcome.messages, resident_mb(self._url)))
