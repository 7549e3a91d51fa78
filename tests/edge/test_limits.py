"""What one connection may take: bytes of a header, seconds of silence, and a place among the others."""

import asyncio
from typing import Any

import pytest

from tests.edge.conftest import Application, Serve

ASK = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/blocks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SMALL: dict[str, Any] = {"max_header_bytes": 8192, "max_headers": 20}
BRIEF: dict[str, Any] = {"request_seconds": 0.2, "idle_seconds": 0.2, "linger_seconds": 1.0}


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (b"GET /v1/health?" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414, "4096 bytes"),
        (b"GET /" + b"a" * 3_000_000, 414, "4096 bytes"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431, "TERTULIA_MAX_HEADER_BYTES"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 3_000_000, 431, "TERTULIA_MAX_HEADER_BYTES"),
        (b"GET / HTTP/1.1\r\n" + b"a" * 3_000_000, 431, "TERTULIA_MAX_HEADER_BYTES"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n", 431, "more than 20 headers"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 3_000_000, 400, "chunks"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na: " + b"b" * 3_000_000, 400, "chunks"),
    ],
    ids=["target", "endless target", "header", "endless header", "endless name", "count", "extension", "trailer"],
)
async def test_a_head_that_is_too_large_is_refused_with_a_reply_that_reaches_the_client(
    api: Application, serve: Serve, head: bytes, status: int, words: str
) -> None:
    async with serve(api, **SMALL) as client, client() as raw:
        reply = await raw.ask(head)
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert words in reply.detail
        assert await raw.closed()


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        (b"GET /v1/hea", "head"),
        (b"GET /v1/health HTTP/1.1\r\nHost: loc", "head"),
        (POST + b"Content-Length: 10\r\n\r\n{", "body"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{", "body"),
    ],
    ids=repr,
)
async def test_a_request_that_does_not_come_to_its_end_is_408(
    api: Application, serve: Serve, sent: bytes, part: str
) -> None:
    async with serve(api, **BRIEF) as client, client() as raw:
        reply = await raw.ask(sent)
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert f"The {part} of the request" in reply.detail
        assert await raw.closed()


@pytest.mark.parametrize("sent", [b"", ASK], ids=["at once", "after a reply"])
async def test_an_idle_connection_is_closed_without_a_word(api: Application, serve: Serve, sent: bytes) -> None:
    async with serve(api, **BRIEF) as client, client() as raw:
        if sent:
            assert (await raw.ask(sent)).status == 200
        assert await raw.closed()


async def test_a_reply_that_is_long_in_coming_is_waited_for(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"at last"})

    async with serve(silent, **BRIEF) as client, client() as raw, client() as other:
        await raw.send(ASK)
        assert await other.closed()  # idle for longer than any limit
        go_on.set()
        assert (await raw.reply()).body == b"at last"


async def test_a_reader_that_takes_nothing_of_its_reply_is_let_go(serve: Serve) -> None:
    left = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.ensure_future(receive())
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        left.set()

    async with serve(endless, reader_seconds=0.1, slowest_bytes_per_second=100_000_000) as client, client() as raw:
        await raw.send(ASK)
        async with asyncio.timeout(20):
            await left.wait()


async def test_pipelined_requests_are_answered_in_turn_however_many(api: Application, serve: Serve) -> None:
    async with serve(api) as client, client() as raw:
        await raw.send(ASK * 2000)
        for _ in range(2000):
            assert (await raw.reply()).status == 200


async def test_the_longest_idle_connection_makes_room_for_a_new_one(api: Application, serve: Serve) -> None:
    async with serve(api, max_connections=2) as client, client() as first, client() as second:
        assert (await first.ask(ASK)).status == 200
        assert (await second.ask(ASK)).status == 200
        async with client() as third:
            assert (await third.ask(ASK)).status == 200
            assert await first.closed()


async def test_where_all_are_busy_a_new_connection_is_told_to_try_again(api: Application, serve: Serve) -> None:
    async with serve(api, max_connections=1) as client, client() as first:
        await first.send(b"GET /v1/hea")
        async with client() as second:
            reply = await second.reply()
            assert reply.status == 503
            assert "TERTULIA_MAX_CONNECTIONS" in reply.detail
            assert reply.headers["retry-after"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_client_that_is_still_sending_gets_the_reply(api: Application, serve: Serve, *, chunked: bool) -> None:
    piece, pieces = b" " * 1_000_000, 30
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (pieces * len(piece))
    body = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
    async with serve(api) as client, client() as raw:
        await raw.send(POST + framing + b"\r\n\r\n", *[body] * pieces, b"0\r\n\r\n" if chunked else b"")
        reply = await raw.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert "TERTULIA_MAX_BODY_BYTES" in reply.detail


async def test_a_short_body_that_nobody_wants_costs_no_connection(api: Application, serve: Serve) -> None:
    missing = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    async with serve(api) as client, client() as raw:
        assert (await raw.ask(missing)).status == 404
        await raw.send(b"0123456789")
        assert (await raw.ask(ASK)).status == 200


async def test_a_client_that_asks_first_is_told_to_go_on_or_is_refused(api: Application, serve: Serve) -> None:
    async with serve(api) as client, client() as raw:
        await raw.send(POST + b"Expect: 100-continue\r\nContent-Length: 34\r\n\r\n")
        assert (await raw.read_head())[0] == 100
        assert (await raw.ask(b'{"label": "human", "value": "Ada"}')).status == 200
        await raw.send(POST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert (await raw.read_head())[0] == 413
