"""``fetch_webpage``: what the model reads of a page."""

import gzip

import pytest

from tertulia.ports.tool import ToolContext
from tertulia.tools.fetch_webpage import fetch_webpage
from tertulia.tools.readable import MAX_HTML, readable
from tests.support.raw_http import RawServer, response
from tests.support.world import World

HTML = "text/html; charset=utf-8"
ARTICLE = b"""<!doctype html><html><head><title>Bees</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><header>Logo</header>
<main><h1>All about bees</h1><p>They <b>fly</b> and make <a href="https://example.org/honey">honey</a>, which keeps
for a very long time when it is closed well.</p><ul><li>queen</li><li>worker</li></ul>
<pre><code>buzz()</code></pre><script>alert(1)</script></main><footer>Imprint</footer></body></html>"""


def test_html_becomes_markdown_of_its_content() -> None:
    text = readable(ARTICLE, HTML)
    assert text is not None
    assert text.startswith("# Bees\n\n# All about bees\n\nThey **fly** and make [honey](https://example.org/honey)")
    assert "* queen\n* worker" in text
    assert "buzz()" in text
    for noise in ("Home", "Logo", "Imprint", "alert"):
        assert noise not in text


def test_a_page_without_a_part_for_its_content_is_shown_whole() -> None:
    text = readable(b"<body><div><p>one</p></div><article>two</article><article>three</article></body>", HTML)
    assert text == "one\n\ntwo\n\nthree"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("<p>caffè</p>".encode("latin-1"), "text/html; charset=iso-8859-1", "caffè"),
        ('<meta charset="iso-8859-1"><p>caffè</p>'.encode("latin-1"), "text/html", "caffè"),
        ("<p>caffè</p>".encode(), "text/html; charset=nonsense", "caffè"),
        ("caffè".encode("latin-1"), "text/plain; charset=iso-8859-1", "caffè"),
        ("caffè".encode(), "text/plain; charset=nonsense", "caffè"),
        (b"<html><body>hi</body></html>", "", "hi"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"<a/>", "application/rss+xml", "<a/>"),
        (b"# kept", "text/markdown", "# kept"),
        (b"http://example.org/", "text/html", "http://example.org/"),
        (b"", "text/html", ""),
        (b"\x00\xff", "text/plain", "\x00�"),
        (
            b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><p>x</p></html>',
            "application/xhtml+xml",
            "x",
        ),
    ],
)
def test_text_is_read_as_what_it_is(body: bytes, content_type: str, expected: str) -> None:
    assert readable(body, content_type) == expected


@pytest.mark.parametrize("content_type", ["application/pdf", "image/png", "application/octet-stream"])
def test_what_is_no_text_is_not_read(content_type: str) -> None:
    assert readable(b"%PDF", content_type) is None


def test_a_page_nested_beyond_reason_is_read_all_the_same() -> None:
    text = readable(b"<div>" * 5000 + b"deep" + b"</div>" * 5000, HTML)
    assert text == "deep"


def test_of_a_very_long_page_the_beginning_is_read() -> None:
    text = readable(b"<p>begin</p>" + b" " * MAX_HTML + b"<p>end</p>", HTML)
    assert text is not None
    assert text.startswith("begin")
    assert "end" not in text.replace("[The page goes on", "")


def context(world: World) -> ToolContext:
    return ToolContext(world.store, "agent-1", "conv-1", "run-1")


@pytest.mark.anyio
async def test_a_page_is_returned_with_its_address(world: World) -> None:
    tool = fetch_webpage(allow_private_addresses=True)
    reply = response(200, gzip.compress(ARTICLE), "content-encoding: gzip", content_type=HTML)
    async with RawServer(reply) as server:
        outcome = await tool.call({"url": server.url}, context(world))
    assert outcome.status == "success"
    assert isinstance(outcome.content, str)
    assert outcome.content.startswith(f"Source: {server.url}\n\n# Bees\n\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("allowed", "content_type", "said"),
    [(False, HTML, "TERTULIA_ALLOW_PRIVATE_ADDRESSES"), (True, "application/pdf", "'application/pdf'")],
)
async def test_what_cannot_be_read_is_an_error_for_the_model(
    world: World, *, allowed: bool, content_type: str, said: str
) -> None:
    tool = fetch_webpage(allow_private_addresses=allowed)
    async with RawServer(response(200, ARTICLE, content_type=content_type)) as server:
        outcome = await tool.call({"url": server.url}, context(world))
    assert outcome.status == "error"
    assert said in outcome.content
