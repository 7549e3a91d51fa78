"""Fetching what a model names: only checked addresses are connected to, and no page can hold the server up."""

import gzip
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tertulia.tools import guarded_http
from tertulia.tools.guarded_http import FetchFailed, GuardedClient
from tertulia.tools.public_addresses import Resolver
from tests.support.raw_http import Abort, Close, Hang, RawServer, Step, chunked, response

pytestmark = pytest.mark.anyio

HERE = "127.0.0.1"
CERTIFICATE = Path(__file__).parents[1] / "support" / "loopback.pem"


def page(body: bytes = b"hello", *headers: str) -> list[Step]:
    return response(200, body, *headers, content_type="text/html; charset=utf-8")


def redirect(location: str) -> list[Step]:
    return response(302, b"", f"location: {location}")


class Names:
    """A name server. A host's answers come in their order, the last one again and again."""

    def __init__(self, **answers: Iterable[list[str]]) -> None:
        self.answers = {host: list(given) for host, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError("unknown")
        given = self.answers[host]
        return given.pop(0) if len(given) > 1 else given[0]


def only_here(address: str) -> bool:
    return address == HERE


def client(names: Resolver, is_allowed: Callable[[str], bool] = only_here, **limits: float) -> GuardedClient:
    return GuardedClient(
        resolver=names,
        is_allowed=is_allowed,
        seconds=limits.get("seconds", 15.0),
        max_bytes=int(limits.get("max_bytes", 10_000)),
    )


def named(server: RawServer, host: str = "site", path: str = "/page") -> str:
    return f"http://{host}:{server.url.split(':')[2].removesuffix('/v1')}{path}"


async def test_a_page_is_fetched_by_its_host_s_name() -> None:
    async with RawServer(page()) as server:
        fetched = await client(Names(site=[[HERE]])).get(named(server, path="/page?a=1#part"))
    assert fetched.body == b"hello"
    assert fetched.content_type == "text/html; charset=utf-8"
    request = server.requests[0]
    assert request.path == "/page?a=1"
    assert request.headers["host"] == named(server, path="").removeprefix("http://")


async def test_the_default_is_the_public_internet_alone() -> None:
    async with RawServer(page()) as server:
        with pytest.raises(FetchFailed, match="TERTULIA_ALLOW_PRIVATE_ADDRESSES"):
            await GuardedClient().get(server.url)
    assert server.connections == 0


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], [HERE, "10.0.0.1"], []])
async def test_a_host_with_an_address_that_is_not_allowed_is_not_connected_to(addresses: list[str]) -> None:
    async with RawServer(page()) as server:
        with pytest.raises(FetchFailed, match="not a host of the public internet"):
            await client(Names(site=[addresses])).get(named(server))
    assert server.connections == 0


async def test_a_name_that_changes_its_address_after_the_check_changes_nothing() -> None:
    names = Names(site=[[HERE], ["10.0.0.1"]])
    async with RawServer(page()) as server:
        await client(names).get(named(server))
    assert names.asked == ["site"]


async def test_redirects_are_followed() -> None:
    names = Names(site=[[HERE]])
    async with RawServer(redirect("/other"), page(b"there")) as server:
        fetched = await client(names).get(named(server))
    assert fetched.body == b"there"
    assert fetched.url == named(server, path="/other")
    assert names.asked == ["site", "site"]


async def test_a_redirect_to_an_address_that_is_not_allowed_is_refused() -> None:
    names = Names(site=[[HERE]], inside=[["10.0.0.1"]])
    async with RawServer(redirect("http://inside/secrets"), page()) as server:
        with pytest.raises(FetchFailed, match="inside is not a host"):
            await client(names).get(named(server))
    assert len(server.requests) == 1


async def test_a_redirect_back_to_a_name_that_now_means_another_address_is_refused() -> None:
    names = Names(site=[[HERE], ["127.0.0.2"]])
    async with RawServer(redirect("/again"), page()) as server:
        with pytest.raises(FetchFailed, match="site is not a host"):
            await client(names).get(named(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://site/", "http://user:secret@site/", "http://["])
async def test_a_redirect_to_something_else_than_a_web_address_is_refused(location: str) -> None:
    async with RawServer(redirect(location)) as server:
        with pytest.raises(FetchFailed):
            await client(Names(site=[[HERE]])).get(named(server))
    assert len(server.requests) == 1


async def test_endless_redirects_are_given_up() -> None:
    async with RawServer(redirect("/round")) as server:
        with pytest.raises(FetchFailed, match="one redirect too many"):
            await client(Names(site=[[HERE]])).get(named(server))
    assert len(server.requests) == guarded_http.MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "site/page", "gopher://site/", "http://", "http://a:b@site/", ""]
)
async def test_what_is_no_plain_web_address_is_refused(address: str) -> None:
    names = Names(site=[[HERE]])
    with pytest.raises(FetchFailed):
        await client(names).get(address)
    assert names.asked == []


async def test_an_unknown_host_is_said_to_be_unknown() -> None:
    with pytest.raises(FetchFailed, match="There is no host 'nowhere'"):
        await client(Names()).get("http://nowhere/")


async def test_the_next_address_is_tried_when_the_first_refuses() -> None:
    names = Names(site=[["127.0.0.2", HERE]])
    async with RawServer(page()) as server:
        fetched = await client(names, lambda _: True).get(named(server))
    assert fetched.body == b"hello"


async def test_a_failing_status_is_told() -> None:
    async with RawServer(response(404, b"gone")) as server:
        with pytest.raises(FetchFailed, match="status 404"):
            await client(Names(site=[[HERE]])).get(named(server))


@pytest.mark.parametrize(
    "reply",
    [
        page(b"x" * 101),
        chunked(*[b"x" * 60] * 2),
        page(gzip.compress(b"x" * 100_000), "content-encoding: gzip"),
    ],
    ids=["announced", "chunked", "unpacked"],
)
async def test_a_page_beyond_the_limit_is_not_read(reply: list[Step]) -> None:
    async with RawServer(reply) as server:
        with pytest.raises(FetchFailed, match="longer than 100 bytes"):
            await client(Names(site=[[HERE]]), max_bytes=100).get(named(server))


async def test_a_packed_page_is_unpacked() -> None:
    async with RawServer(page(gzip.compress(b"hello" * 20), "content-encoding: gzip")) as server:
        fetched = await client(Names(site=[[HERE]])).get(named(server))
    assert fetched.body == b"hello" * 20


@pytest.mark.parametrize(("encoding", "said"), [("gzip", "is not"), ("br", "packed as 'br'")])
async def test_a_page_that_is_packed_otherwise_is_refused(encoding: str, said: str) -> None:
    async with RawServer(page(b"hello", f"content-encoding: {encoding}")) as server:
        with pytest.raises(FetchFailed, match=said):
            await client(Names(site=[[HERE]])).get(named(server))


async def test_a_server_that_is_silent_is_given_up() -> None:
    async with RawServer([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", Hang()]) as server:
        with pytest.raises(FetchFailed, match="did not answer"):
            await client(Names(site=[[HERE]]), seconds=0.2).get(named(server))
        await server.requests[0].left.wait()


@pytest.mark.parametrize("reply", [[Abort()], [Close()], [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", Close()]])
async def test_a_broken_connection_is_told(reply: list[Step]) -> None:
    async with RawServer(reply) as server:
        with pytest.raises(FetchFailed, match=r"does not answer|broke off"):
            await client(Names(site=[[HERE]])).get(named(server))


async def test_a_certificate_is_checked_against_the_name_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with RawServer(page(), tls=served) as server:
        address = named(server, "localhost").replace("http:", "https:")
        with pytest.raises(FetchFailed, match="cannot be connected to"):
            await client(Names(localhost=[[HERE]])).get(address)
        monkeypatch.setattr(guarded_http, "_tls", lambda: trusting)
        assert (await client(Names(localhost=[[HERE]])).get(address)).body == b"hello"
        with pytest.raises(FetchFailed, match="cannot be connected to"):
            await client(Names(elsewhere=[[HERE]])).get(address.replace("localhost", "elsewhere"))
