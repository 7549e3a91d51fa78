import asyncio

import pytest

from tertulia.providers.local.admission import Admission


async def _settle() -> None:
    """Let every task run until it waits for another."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_slots_are_admitted_at_once() -> None:
    admission = Admission(slots=2, tokens=1000)
    assert [await admission.take(100), await admission.take(100)] == [100, 100]
    third = asyncio.ensure_future(admission.take(100))
    await _settle()
    assert not third.done()
    admission.give_back(100)
    assert await third == 100


async def test_requests_share_the_tokens_there_are() -> None:
    admission = Admission(slots=4, tokens=1000)
    await admission.take(700)
    second = asyncio.ensure_future(admission.take(400))
    await _settle()
    assert not second.done()
    admission.give_back(700)
    assert await second == 400


async def test_a_request_that_wants_more_than_there_is_gets_all_of_it() -> None:
    assert await Admission(slots=4, tokens=1000).take(5000) == 1000


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    admission = Admission(slots=4, tokens=1000)
    await admission.take(700)
    large, small = asyncio.ensure_future(admission.take(900)), asyncio.ensure_future(admission.take(100))
    await _settle()
    assert not large.done()
    assert not small.done()
    admission.give_back(700)
    assert await large == 900
    assert await small == 100


async def test_one_who_stops_waiting_leaves_the_queue() -> None:
    admission = Admission(slots=1, tokens=1000)
    await admission.take(100)
    impatient, patient = asyncio.ensure_future(admission.take(100)), asyncio.ensure_future(admission.take(100))
    await _settle()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    admission.give_back(100)
    assert await patient == 100


async def test_one_who_is_cancelled_in_the_moment_of_being_admitted_gives_the_place_back() -> None:
    admission = Admission(slots=1, tokens=1000)
    await admission.take(100)
    unlucky = asyncio.ensure_future(admission.take(100))
    await _settle()
    admission.give_back(100)
    unlucky.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unlucky
    assert await admission.take(100) == 100
