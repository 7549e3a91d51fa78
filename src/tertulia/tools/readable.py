"""A web page as text to read: HTML becomes Markdown without what surrounds its content. Fetches nothing."""

import re
from email.message import Message
from typing import Final

from bs4 import BeautifulSoup, Tag
from bs4.exceptions import ParserRejectedMarkup
from markdownify import MarkdownConverter

MAX_HTML: Final = 1_000_000
"""Bytes of HTML that are read: about three seconds' work, and many times what a model is shown."""

_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_TEXT: Final = re.compile(r"text/.*|application/([\w.-]+\+)?(json|xml|yaml)|application/(javascript|x-ndjson)")
_NOISE: Final = [
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "form", "button", "dialog", "nav",
    "aside",
]  # fmt: skip
_OUTER: Final = ["header", "footer"]  # of the page; an article's own may hold its title and author
_XML_DECLARATION: Final = re.compile(rb"\s*<\?xml[^>]*\?>")
_GAP: Final = re.compile(rb"[ \t\r\n]{200,}")
"""More space than anybody reads; the converter takes time with the square of its length."""
_INDENT: Final = 100
_SPACE: Final = re.compile(r"\s+")
_BLANK_LINES: Final = 3
"""Line ends in a row that are no more than one blank line to a reader."""


def readable(body: bytes, content_type: str) -> str | None:
    """The text of a page, HTML as Markdown under its title; None if it is no text.

    The parser and the converter may take any length of time for the wrong page.
    """
    media_type, charset = _parsed(content_type)
    if b"<" in body and (media_type in _HTML or (not media_type and b"<html" in body[:1024].lower())):
        text = _markdown(_parsed_page(body[:MAX_HTML], charset))
        return text if len(body) <= MAX_HTML else f"{text}\n\n[The page goes on: its first {MAX_HTML} bytes were read.]"
    if media_type and media_type not in _HTML and not _TEXT.fullmatch(media_type):
        return None
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except LookupError:  # a charset nobody has heard of
        return body.decode(errors="replace")


def _parsed(content_type: str) -> tuple[str, str | None]:
    if not content_type.strip():
        return "", None
    header = Message()
    header["content-type"] = content_type
    return header.get_content_type(), header.get_content_charset()


def _parsed_page(body: bytes, charset: str | None) -> BeautifulSoup:
    declaration = _XML_DECLARATION.match(body)  # nothing to read, and the parser would complain of it
    body = body[declaration.end() :] if declaration else body
    body = _GAP.sub(lambda gap: b"\n" * min(gap[0].count(b"\n"), 3) + gap[0][-_INDENT:], body)
    # Behind the last end of a tag there is no tag: the parser would look for one from every beginning to the end.
    last = body.rfind(b">") + 1
    body = body[:last] + body[last:].replace(b"<", b"&lt;")
    try:
        return BeautifulSoup(body, "html.parser", from_encoding=charset)
    except ParserRejectedMarkup:  # no HTML after all: it is read as the text it is
        return BeautifulSoup(body.replace(b"<", b"&lt;"), "html.parser", from_encoding=charset)


def _markdown(page: BeautifulSoup) -> str:
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for tag in page(_NOISE):
        tag.decompose()
    content = _content(page)
    if content is page.body:
        for tag in page(_OUTER):
            tag.decompose()
    try:
        text = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(content)
    except RecursionError:  # nested beyond what the converter follows, and any page that means to be read
        text = content.get_text("\n", strip=True)
    text = _SPACE.sub(_fewer_blank_lines, text).strip()
    return f"# {title}\n\n{text}" if title and not text.startswith(f"# {title}") else text


def _fewer_blank_lines(space: re.Match[str]) -> str:
    """White space without its blank lines but one; each piece of it is looked at once, however long it is."""
    text = space[0]
    if text.count("\n") < _BLANK_LINES:
        return text
    return "\n\n" + text[text.rfind("\n") + 1 :]


def _content(page: BeautifulSoup) -> Tag:
    """The part that the page itself calls its content, if it holds most of the text; otherwise all of it."""
    whole = page.body or page
    for name in ("main", "article"):
        parts = page.find_all(name)
        if len(parts) == 1 and 2 * len(parts[0].get_text()) > len(whole.get_text()):
            return parts[0]
    return whole
