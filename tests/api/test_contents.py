"""Codings, character sets and characters that cannot be taken are refused by name, in replies that pages can read."""

import dataclasses
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncGenerator

import httpx
import pytest

from tertulia.api.deps import ApiSettings
from tertulia.api.router import build_api
from tests.support.world import World

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("charset", ["idna", "utf-16", "utf-7", "punycode", "rot13", "zlib", "no-such"])
async def test_another_charset_than_that_of_json_is_415(client: httpx.AsyncClient, charset: str) -> None:
    for path in ("/v1/blocks/", "/v1/messages/search"):
        reply = await client.post(path, content=b"{}", headers={"content-type": f"application/json; charset={charset}"})
        assert reply.status_code == 415
        assert charset in reply.json()["detail"]


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
async def test_utf_8_is_taken_with_and_without_its_mark(client: httpx.AsyncClient, charset: str) -> None:
    body = b'{"label": "human", "value": "Ada"}'
    for content in (body, b"\xef\xbb\xbf" + body):
        head = {"content-type": f"application/json; charset={charset}"}
        assert (await client.post("/v1/blocks/", content=content, headers=head)).status_code == 200


@pytest.mark.parametrize("coding", ["zstd", "br", "compress", "gzip, br", "gzip, gzip, gzip, gzip"])
async def test_a_coding_that_is_not_taken_is_415_and_told_what_is(client: httpx.AsyncClient, coding: str) -> None:
    reply = await client.post("/v1/blocks/", content=b"{}", headers=JSON | {"content-encoding": coding})
    assert (reply.status_code, reply.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert "gzip and deflate" in reply.json()["detail"]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BLOCK = b'{"label": "human", "value": "' + b"Ada " * 1000 + b'"}'
PACKED = {
    "gzip": gzip.compress(BLOCK),
    "x-gzip": gzip.compress(BLOCK[:100]) + gzip.compress(BLOCK[100:]),
    "GZIP": gzip.compress(BLOCK),
    "deflate": zlib.compress(BLOCK),
    "Deflate": raw_deflate(BLOCK),
    "deflate, gzip": gzip.compress(zlib.compress(BLOCK)),
    "identity": BLOCK,
}


@pytest.mark.parametrize("coding", PACKED)
async def test_a_compressed_body_is_taken_in_whatever_pieces_it_comes(client: httpx.AsyncClient, coding: str) -> None:
    async def pieces(size: int) -> AsyncGenerator[bytes]:
        for start in range(0, len(PACKED[coding]), size):
            yield PACKED[coding][start : start + size]

    for size in (1, 1000):
        head = JSON | {"content-encoding": coding}
        reply = await client.post("/v1/blocks/", content=pieces(size), headers=head)
        assert reply.status_code == 200, reply.text
        assert reply.json()["value"] == "Ada " * 1000


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(b"{}")[:-4], "gzip"),
        (b"{}", "gzip"),
        (zlib.compress(b"{}") + b"more", "deflate"),
        (gzip.compress(b"{}") + b"more", "gzip"),
        (gzip.compress(b"{}"), "gzip, gzip"),
    ],
    ids=["cut off", "not compressed", "more of deflate", "more of gzip", "compressed once"],
)
async def test_a_body_that_is_not_of_its_coding_is_400(client: httpx.AsyncClient, body: bytes, coding: str) -> None:
    reply = await client.post("/v1/blocks/", content=body, headers=JSON | {"content-encoding": coding})
    assert reply.status_code == 400, reply.text
    assert "body" in reply.json()["detail"]


async def test_a_small_body_that_comes_to_a_large_one_is_413_and_not_unpacked(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(gzip.compress(b'{"value": "' + b" " * 200_000_000))
    assert len(bomb) < 10_000
    tracemalloc.start()
    reply = await client.post("/v1/blocks/", content=bomb, headers=JSON | {"content-encoding": "gzip, gzip"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reply.status_code == 413
    assert "TERTULIA_MAX_BODY_BYTES" in reply.json()["detail"]
    assert peak < 60_000_000


async def test_nul_in_a_body_is_422_and_its_field_named(client: httpx.AsyncClient) -> None:
    for path, name in (("/v1/blocks/", "value"), ("/v1/agents/", "name"), ("/v1/messages/search", "query")):
        reply = await client.post(path, content=b'{"label": "a", "%b": "a\\u0000"}' % name.encode(), headers=JSON)
        assert reply.status_code == 422
        assert name in reply.json()["detail"]


@pytest.mark.parametrize(
    ("query", "words"), [("name=%00", "name"), ("name=%ff", "name"), ("a=b&" * 1500, "1000 parameters")]
)
async def test_a_parameter_that_is_no_text_is_422_and_named(client: httpx.AsyncClient, query: str, words: str) -> None:
    reply = await client.get(f"/v1/agents/?{query}")
    assert reply.status_code == 422
    assert words in reply.json()["detail"]


@pytest.mark.parametrize("long", ["a" * 60_000, "%25__" * 10_001])
async def test_a_parameter_or_search_of_very_many_characters_is_422_and_named(
    client: httpx.AsyncClient, long: str
) -> None:
    for path, name in (
        ("agents", "query_text"), ("agents", "tags"), ("blocks", "value_search"), ("tags", "name"), ("runs", "after"),
        ("conversations", "summary_search"), ("conversations", "order_by"),
    ):  # fmt: skip
        reply = await client.get(f"/v1/{path}/?limit=1&{name}={long}")
        assert reply.status_code == 422, path
        assert reply.json() == {"detail": f"'{name}' in the query has more than 10000 characters; shorten it."}
    for path in ("messages", "conversations"):
        reply = await client.post(f"/v1/{path}/search", json={"query": long})
        assert reply.status_code == 422
        assert "'query' in the body must have at most 10000 characters" in reply.json()["detail"]


async def test_nul_in_a_path_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/agents/a%00b")).status_code == 404


async def test_pages_of_allowed_origins_can_read_refusals_and_their_ids(world: World) -> None:
    settings = ApiSettings(api_key="secret", cors_origins=("https://app.example",), max_body_bytes=2000)
    app = build_api(dataclasses.replace(world.services, settings=settings))
    page, key = {"origin": "https://app.example"}, {"authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        replies = {
            401: await http.get("/v1/agents/", headers=page),
            404: await http.get("/nowhere", headers=page | key),
            405: await http.put("/v1/agents/", headers=page | key),
            413: await http.post("/v1/agents/", content=b" " * 3000, headers=page | key | JSON),
            403: await http.options("/v1/x", headers={"origin": "https://b.c", "access-control-request-method": "GET"}),
        }
    assert {status: reply.status_code for status, reply in replies.items()} == {status: status for status in replies}
    assert "access-control-allow-origin" not in replies.pop(403).headers
    for reply in replies.values():
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize(("path", "field"), [("/v1/blocks/", "metadata"), ("/v1/messages/search", "roles")])
async def test_a_body_of_very_many_values_is_422_before_it_is_parsed(
    client: httpx.AsyncClient, path: str, field: str
) -> None:
    crowd = b'{"label": "a", "value": "b", "query": "c", "%b": {"x": [%b]}}' % (field.encode(), b"0," * 400_000 + b"0")
    reply = await client.post(path, content=crowd, headers=JSON)
    assert reply.status_code == 422
    assert "more than 200000 values" in reply.json()["detail"]


@pytest.mark.parametrize("text", [b"," * 300_000, b'\\",' * 300_000, b"\\\\" * 200_000 + b"," * 250_000])
async def test_a_text_of_very_many_commas_is_one_value(client: httpx.AsyncClient, text: bytes) -> None:
    body = b'{"label": "a", "limit": 2000000, "value": "%b"}' % text
    reply = await client.post("/v1/blocks/", content=body, headers=JSON)
    assert reply.status_code == 200, reply.text[:300]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400 + ".0", "9" * 5000, "NaN", "Infinity"])
async def test_a_number_that_no_reader_of_json_takes_is_422_on_every_route(
    client: httpx.AsyncClient, number: str
) -> None:
    for path, field in (("/v1/blocks/", "metadata"), ("/v1/conversations/?agent_id=x", "context_window_limit")):
        body = f'{{"label": "a", "value": "b", "{field}": {{"x": {number}}}}}'
        reply = await client.post(path, content=body.encode(), headers=JSON)
        assert reply.status_code == 422, reply.text[:300]
