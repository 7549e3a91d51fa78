"""Posting callbacks: to whom, as what, and to whom not."""

from collections.abc import Sequence

import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.ports.callbacks import CallbackFailed
from tertulia.tools.callback_sender import GuardedSender
from tests.support.raw_http import Abort, Hang, RawServer, response

pytestmark = pytest.mark.anyio

ALLOWING = GuardedSender(allow_private_addresses=True)


async def test_the_body_is_posted_with_its_headers_and_the_status_comes_back() -> None:
    async with RawServer(response(204, b"")) as server:
        assert await ALLOWING.post(f"{server.url}/told?x=1", b'{"a":1}', {"x-signature": "s"}) == 204
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/told?x=1", b'{"a":1}')
    assert seen.headers["x-signature"] == "s"


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with RawServer(response(302, b"", "location: http://127.0.0.1/elsewhere")) as server:
        assert await ALLOWING.post(server.url, b"", {}) == 302
    assert len(server.requests) == 1


async def test_a_name_goes_to_the_address_that_was_checked_under_its_own_name() -> None:
    async def resolver(host: str, _port: int) -> Sequence[str]:
        assert host == "site.test"
        return ["127.0.0.1"]

    async with RawServer(response(200, b"")) as server:
        url = server.url.replace("127.0.0.1", "site.test")
        assert await GuardedSender(allow_private_addresses=True, resolver=resolver).post(url, b"", {}) == 200
        with pytest.raises(CallbackFailed, match="public") as refused:
            await GuardedSender(resolver=resolver).post(url, b"", {})
    assert refused.value.final
    assert [seen.headers["host"].partition(":")[0] for seen in server.requests] == ["site.test"]


@pytest.mark.parametrize("step", [Abort(), Hang()], ids=["broken off", "silent"])
async def test_no_answer_is_a_failure_worth_another_try(step: Abort | Hang) -> None:
    async with RawServer([step]) as server:
        with pytest.raises(CallbackFailed) as failed:
            await GuardedSender(allow_private_addresses=True, seconds=0.05).post(server.url, b"", {})
    assert not failed.value.final


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://localhost", "http://[fd00::1]/", "file:///etc/passwd"])
def test_what_tells_by_itself_that_it_is_private_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidArgument):
        GuardedSender().check(url)


def test_private_addresses_can_be_allowed() -> None:
    ALLOWING.check("http://127.0.0.1:9000/told")
    GuardedSender().check("https://example.com/told")


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@example.com/told",
        f"https://{SECRET}@example.com",
        f"ftp://user:{SECRET}@example.com",
        f"http://user:{SECRET}@127.0.0.1",
        f"http://user:{SECRET}@[::1/",
        f"http://127.0.0.1/?token={SECRET}",
        f"user:{SECRET}@example.com",
    ],
)
async def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        GuardedSender().check(url)
    assert SECRET not in str(refused.value)
    with pytest.raises(CallbackFailed) as failed:
        await GuardedSender().post(url, b"", {})
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize("step", [Abort(), Hang()], ids=["broken off", "silent"])
async def test_what_went_wrong_says_the_host_and_no_token_in_its_address(step: Abort | Hang) -> None:
    sender = GuardedSender(allow_private_addresses=True, seconds=0.05)
    async with RawServer([step]) as server:
        with pytest.raises(CallbackFailed, match=r"127\.0\.0\.1") as failed:
            await sender.post(f"{server.url}/{SECRET}?token={SECRET}", b"", {})
    assert SECRET not in str(failed.value)
