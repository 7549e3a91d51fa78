"""Callbacks: who is told of the end of a run, how often, and what the run keeps of it."""

import hashlib
import hmac
import json
from collections import deque
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.runs import Run
from tertulia.engine.callbacks import WAITS, Callbacks
from tertulia.ports.callbacks import CallbackFailed
from tests.support.world import World

pytestmark = pytest.mark.anyio

URL = "https://example.com/told"
SECRET = b"secret"


class Receiver:
    """Answers with one outcome after the other, 200 when there is none left."""

    def __init__(self, *outcomes: int | CallbackFailed) -> None:
        self.outcomes = deque(outcomes)
        self.posts: list[tuple[bytes, Mapping[str, str]]] = []
        self.pauses: list[float] = []

    def check(self, url: str) -> None:
        pass

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        assert url == URL
        self.posts.append((body, headers))
        outcome = self.outcomes.popleft() if self.outcomes else 200
        if isinstance(outcome, CallbackFailed):
            raise outcome
        return outcome

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def ended(world: World) -> Run:
    """A run that has ended, with an address to tell."""
    agent_id = (await world.agent()).agent.id
    run = await world.start(agent_id, "hi")
    await world.events(run.id)
    over = replace(await world.run(run.id), callback_url=URL, background=True)
    await world.store.write(lambda tx: tx.runs.update(over))
    return over


async def told(world: World, receiver: Receiver, run: Run) -> Run:
    await Callbacks(world.store, receiver, lambda: SECRET, receiver.pause).send(run)
    return await world.run(run.id)


async def test_the_notice_says_what_became_of_the_run_and_is_signed(world: World) -> None:
    run, receiver = await ended(world), Receiver()
    after = await told(world, receiver, run)
    ((body, headers),) = receiver.posts
    notice = json.loads(body)
    assert (notice["run_id"], notice["status"], notice["stop_reason"]) == (run.id, "completed", "end_turn")
    at, signature = (part.partition("=")[2] for part in headers["x-tertulia-signature"].split(","))
    assert signature == hmac.new(SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert (after.callback_status_code, after.callback_error) == (200, None)
    assert after.callback_sent_at is not None


async def test_an_address_that_does_not_answer_is_tried_again_with_longer_waits(world: World) -> None:
    receiver = Receiver(CallbackFailed("no"), 503, 429)
    after = await told(world, receiver, await ended(world))
    assert len(receiver.posts) == 4
    assert receiver.pauses == list(WAITS[:3])
    assert after.callback_status_code == 200


async def test_in_the_end_the_run_keeps_what_went_wrong(world: World) -> None:
    receiver = Receiver(*[500] * 9)
    after = await told(world, receiver, await ended(world))
    assert len(receiver.posts) == len(WAITS) + 1
    assert (after.callback_status_code, after.callback_error) == (500, "The address answered with status 500.")


@pytest.mark.parametrize("outcome", [404, 302, CallbackFailed("forbidden", final=True)], ids=str)
async def test_what_trying_again_cannot_change_is_not_tried_again(world: World, outcome: int | CallbackFailed) -> None:
    receiver = Receiver(outcome)
    after = await told(world, receiver, await ended(world))
    assert (len(receiver.posts), after.callback_error is not None) == (1, True)


async def test_nobody_is_told_twice_or_without_an_address(world: World) -> None:
    run, receiver = await ended(world), Receiver()
    await told(world, receiver, run)
    await told(world, receiver, run)
    plain = await world.start((await world.agent()).agent.id, "hi")
    await world.events(plain.id)
    await told(world, receiver, plain)
    assert len(receiver.posts) == 1


async def test_what_the_last_process_did_not_tell_is_found_at_start(world: World) -> None:
    run = await ended(world)
    callbacks = Callbacks(world.store, Receiver(), lambda: SECRET)
    assert await callbacks.unsent() == [run]
    await world.store.write(lambda tx: tx.runs.update(replace(run, callback_sent_at=utc_now())))
    assert await callbacks.unsent() == []
