"""Requests that break HTTP's rules, or ask for what this server is not: a reply that can be read, and a closed door."""

import pytest

from tests.edge.conftest import Application, Serve


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: localhost", *headers, b"", b""]) + body


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"nonsense\r\n\r\n", 400, "not a valid HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not a valid HTTP request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not a valid HTTP request"),
        (b"GET /v1/health\r\n\r\n", 400, "not a valid HTTP request"),
        (request(b"GET /v1/health HTTP/1.1", b"bad header: \x00"), 400, "not a valid HTTP request"),
        (request(b"GET /v1/health HTTP/1.1", b": empty"), 400, "not a valid HTTP request"),
        (request(b"GET /v1/health HTTP/1.1", b"Host: elsewhere"), 400, "more than one host"),
        (b"GET /v1/health HTTP/1.1\r\n\r\n", 400, "no host header"),
        (b"GET http://localhost/v1/health HTTP/1.1\r\n\r\n", 400, "no host header"),
        (request(b"GET /v1/h\xe9alth HTTP/1.1"), 400, "not a valid HTTP request"),
        (request(b"POST /v1/blocks HTTP/1.1", b"Content-Length: 1", b"Content-Length: 2", body=b"{}"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Content-Length: -1"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Content-Length: 99999999999999999999999"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Content-Length: 2", b"Transfer-Encoding: chunked"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 2"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501, "transfer-encoding"),
        (request(b"POST /v1/blocks HTTP/1.1", b"Transfer-Encoding: chunked, chunked"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.0", b"Transfer-Encoding: chunked"), 400, ""),
        (request(b"POST /v1/blocks HTTP/1.1", b"Transfer-Encoding: chunked", body=b"xyz\r\n"), 400, ""),
        (request(b"GET /v1/health HTTP/1.1", b"Expect: a miracle"), 417, "100-continue"),
        (request(b"CONNECT example.com:443 HTTP/1.1"), 405, "CONNECT"),
        (request(b"TRACE /v1/health HTTP/1.1"), 405, "TRACE"),
        (request(b"GET * HTTP/1.1"), 400, "neither a path nor a URL"),
        (request(b"GET /v1/x HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket"), 400, "server-sent events"),
    ],
    ids=repr,
)
async def test_what_cannot_be_answered_is_refused_as_every_failure_is_and_the_connection_closed(
    api: Application, serve: Serve, sent: bytes, status: int, words: str
) -> None:
    async with serve(api) as client, client() as raw:
        reply = await raw.ask(sent)
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert words in reply.detail
        assert await raw.closed()


@pytest.mark.parametrize(
    "sent",
    [
        request(b"GET http://localhost/v1/health HTTP/1.1"),
        request(b"GET http://localhost:80/v1/health/?a=b HTTP/1.1"),
        request(b"GET /v1/health HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
        request(b"GET /v1/health#part HTTP/1.1"),
    ],
    ids=repr,
)
async def test_what_http_allows_is_answered_and_the_connection_goes_on(
    api: Application, serve: Serve, sent: bytes
) -> None:
    async with serve(api) as client, client() as raw:
        for _ in range(3):
            assert (await raw.ask(sent)).status == 200


async def test_options_of_the_whole_server_says_what_it_accepts(api: Application, serve: Serve) -> None:
    async with serve(api) as client, client() as raw:
        reply = await raw.ask(request(b"OPTIONS * HTTP/1.1"))
        assert (reply.status, reply.body) == (204, b"")
        assert {*reply.headers["allow"].split(", ")} >= {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST"}


async def test_http_1_0_needs_no_host(api: Application, serve: Serve) -> None:
    async with serve(api) as client, client() as raw:
        assert (await raw.ask(b"GET /v1/health HTTP/1.0\r\n\r\n")).status == 200


async def test_an_absolute_address_names_the_host_whatever_the_header_says(api: Application, serve: Serve) -> None:
    async with serve(api) as client, client() as raw:
        reply = await raw.ask(request(b"GET http://evil.example/v1/agents/ HTTP/1.1"))
        assert reply.status == 421
        assert "evil.example" in reply.detail


async def test_an_offer_of_http_2_is_ignored_and_loses_no_body(api: Application, serve: Serve) -> None:
    body = b'{"label": "human", "value": "Ada"}'
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    head = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    async with serve(api) as client, client() as raw:
        sent = request(b"POST /v1/blocks/ HTTP/1.1", *offer, *head, body=body)
        assert (await raw.ask(sent)).status == 200
        assert (await raw.ask(sent[:-10], sent[-10:])).status == 200
        assert (await raw.ask(sent + request(b"GET /v1/health HTTP/1.1"))).status == 200
        assert (await raw.reply()).status == 200


async def test_garbage_after_a_request_does_not_cut_into_its_reply(serve: Serve) -> None:
    async def slow(scope: object, receive: object, send: object) -> None:
        await streamed(scope, receive, send)

    async with serve(slow) as client, client() as raw:
        first = await raw.ask(request(b"GET /a HTTP/1.1") + b"\x00\x01garbage\r\n\r\n")
        assert (first.status, first.body, first.whole) == (200, b"onetwo", True)
        assert await raw.reply() is not None


async def streamed(scope: object, receive: object, send: object) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})  # type: ignore[operator]
    for piece in (b"one", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"", "more_body": False})  # type: ignore[operator]


async def test_http_1_0_gets_replies_without_chunks_that_end_with_the_connection(serve: Serve) -> None:
    async with serve(streamed) as client, client() as raw:
        reply = await raw.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert "transfer-encoding" not in reply.headers
        assert reply.body == b"onetwo"


async def test_a_reply_that_breaks_off_has_no_end(serve: Serve) -> None:
    async def crash(scope: object, receive: object, send: object) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"one", "more_body": True})  # type: ignore[operator]
        raise RuntimeError

    async with serve(crash) as client, client() as raw:
        reply = await raw.ask(request(b"GET / HTTP/1.1"))
        assert (reply.body, reply.whole) == (b"one", False)


async def test_a_crash_before_the_reply_is_500_and_the_connection_goes_on(serve: Serve) -> None:
    async def crash(scope: object, receive: object, send: object) -> None:
        raise RuntimeError

    async with serve(crash) as client, client() as raw:
        for _ in range(2):
            reply = await raw.ask(request(b"GET / HTTP/1.1"))
            assert (reply.status, b"INTERNAL" in reply.body) == (500, True)
