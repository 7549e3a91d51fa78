"""The transport below the SDK: connections that are used again, and everything that can be wrong with them."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import httpx2
import pytest

from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.http import transport as http_transport
from tertulia.providers.http.transport import AsyncioTransport
from tertulia.providers.openai.chat_adapter import OpenAIChatProvider
from tests.support.raw_http import Abort, Close, RawServer, Step, response

CERTIFICATE = Path(__file__).parents[1] / "support" / "loopback.pem"  # of localhost, signed by itself


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient, None]:
    async with httpx2.AsyncClient(transport=AsyncioTransport(), timeout=5) as client:
        yield client


async def test_a_connection_is_used_again_once_its_reply_was_read(
    server: RawServer, client: httpx2.AsyncClient
) -> None:
    server.script(response(200, b"hello"))
    for _ in range(3):
        assert (await client.post(server.url, content=b"x")).content == b"hello"
    assert [seen.connection for seen in server.requests] == [1, 1, 1]


async def test_replies_at_once_have_a_connection_each_and_keep_it(
    server: RawServer, client: httpx2.AsyncClient
) -> None:
    server.script(response(200, b"hello"))
    for _ in range(2):
        await asyncio.gather(*(client.get(server.url) for _ in range(10)))
    assert server.connections <= 10


async def test_what_was_left_unread_is_not_taken_for_the_next_reply(
    server: RawServer, client: httpx2.AsyncClient
) -> None:
    server.script(response(500, b"unread"), response(200, b"mine"))
    async with client.stream("GET", server.url) as first:
        assert first.status_code == 500
    assert (await client.get(server.url)).content == b"mine"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(response(200, b"bye", "connection: close"), id="the server says it closes"),
        pytest.param([*response(200, b"bye"), Abort()], id="the server closes"),
        pytest.param([b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nbye"], id="HTTP/1.0"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbyeHTTP/1.1 408 -\r\ncontent-length: 1\r\n\r\nx"],
            id="words unasked for",
        ),
    ],
)
async def test_a_connection_that_is_over_is_not_used_again(
    server: RawServer, client: httpx2.AsyncClient, steps: Sequence[Step]
) -> None:
    server.script(steps, response(200, b"hello"))
    first = await client.get(server.url)
    assert (first.status_code, first.content) == (200, b"bye")
    assert (await client.get(server.url)).content == b"hello"
    assert server.requests[-1].connection == 2


async def test_an_idle_connection_that_dies_under_a_request_is_replaced(
    server: RawServer, client: httpx2.AsyncClient
) -> None:
    # The second request is taken and the connection cut without a word, as by a server that was just closing it.
    server.script(response(200, b"one"), [Abort()], response(200, b"two"))
    assert (await client.get(server.url)).content == b"one"
    assert (await client.post(server.url, content=b"again")).content == b"two"
    assert [(seen.connection, seen.body) for seen in server.requests] == [(1, b""), (1, b"again"), (2, b"again")]


async def test_a_new_connection_that_dies_is_an_error(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script([Abort()])
    with pytest.raises(httpx2.ReadError):
        await client.get(server.url)
    assert len(server.requests) == 1


async def test_a_connection_that_lay_idle_for_long_is_not_trusted(
    server: RawServer, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_transport, "_IDLE_SECONDS", 0)
    server.script(response(200, b"hello"))
    for _ in range(2):
        await client.get(server.url)
    assert [seen.connection for seen in server.requests] == [1, 2]


async def test_informational_replies_are_passed_over(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", *response(200, b"hello", "x-own: yes")])
    reply = await client.get(server.url)
    assert (reply.status_code, reply.content, reply.headers["x-own"]) == (200, b"hello", "yes")
    assert "link" not in reply.headers


async def test_a_body_may_end_with_the_connection(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhel", b"lo", Close()])
    assert (await client.get(server.url)).content == b"hello"


async def test_trailers_are_no_headers(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-late: 1\r\n\r\n"])
    reply = await client.get(server.url)
    assert reply.content == b"hi"
    assert "x-late" not in reply.headers


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([b"SSH-2.0-OpenSSH_9\r\n"], id="another protocol"),
        pytest.param([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000], id="headers without an end"),
        pytest.param([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"], id="a broken chunk"),
        pytest.param(
            [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"], id="an upgrade"
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", Abort()], id="too short"),
    ],
)
async def test_what_is_no_whole_reply_is_an_error(
    server: RawServer, client: httpx2.AsyncClient, steps: Sequence[Step]
) -> None:
    server.script(steps)
    with pytest.raises(httpx2.TransportError):
        await client.get(server.url)


async def test_a_slow_reader_holds_the_sender_back_and_gets_everything(
    server: RawServer, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_transport, "_MAX_BUFFERED", 1000)
    body = bytes(range(256)) * 20_000
    server.script(response(200, body))
    async with client.stream("GET", server.url) as reply:
        pieces = [piece async for piece in reply.aiter_raw()]
    assert b"".join(pieces) == body
    assert len(pieces) > 1


async def test_a_large_request_goes_through(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script(response(200, b"ok"))
    body = b"x" * 20_000_000
    await client.post(server.url, content=body)
    assert server.requests[0].body == body


async def test_a_header_with_a_line_end_is_refused(server: RawServer, client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        await client.get(server.url, headers={"x": "a\r\nevil: 1"})


async def test_other_schemes_are_refused(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.UnsupportedProtocol):
        await client.get("ftp://127.0.0.1/x")


async def test_names_are_tried_in_both_families(server: RawServer, client: httpx2.AsyncClient) -> None:
    server.script(response(200, b"hello"))
    assert (await client.get(server.url.replace("127.0.0.1", "localhost"))).content == b"hello"


async def test_nobody_there_is_an_error(client: httpx2.AsyncClient) -> None:
    async with RawServer() as server:
        url = server.url
    with pytest.raises(httpx2.ConnectError):
        await client.get(url)


async def test_certificates_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with RawServer(response(200, b"hello"), tls=context) as server:
        async with httpx2.AsyncClient(transport=AsyncioTransport(), timeout=5) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        async with httpx2.AsyncClient(transport=AsyncioTransport(), timeout=5) as client:
            for _ in range(2):
                assert (await client.get(server.url)).content == b"hello"
        assert [seen.connection for seen in server.requests] == [server.connections] * 2


@pytest.mark.parametrize(("bypass", "goes_through"), [("", True), ("127.0.0.1", False)])
async def test_a_proxy_in_the_environment_is_used_unless_the_address_is_exempt(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, bypass: str, goes_through: bool
) -> None:
    async with RawServer(response(200, b'{"data": []}')) as proxy:
        server.script(response(200, b'{"data": []}'))
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", bypass)
        provider = OpenAIChatProvider(EndpointConfig(name="box", base_url=server.url))
        await provider.models()
        await provider.close()
        assert (len(proxy.requests), len(server.requests)) == ((1, 0) if goes_through else (0, 1))
