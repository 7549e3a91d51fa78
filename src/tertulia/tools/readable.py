"""A web page as text to read: HTML becomes Markdown without what surrounds its content. Fetches nothing."""

import re
from email.message import Message
from typing import Final

from bs4 import BeautifulSoup, Tag
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
_BLANK_LINES: Final = re.compile(r"\s*\n\s*\n\s*\n+")


def readable(body: bytes, content_type: str) -> str | None:
    """The text of a page, HTML as Markdown under its title; None if it is no text. Slow for long pages."""
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
    return BeautifulSoup(body[declaration.end() :] if declaration else body, "html.parser", from_encoding=charset)


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
    text = _BLANK_LINES.sub("\n\n", text).strip()
    return f"# {title}\n\n{text}" if title and not text.startswith(f"# {title}") else text


def _content(page: BeautifulSoup) -> Tag:
    """The part that the page itself calls its content, if it holds most of the text; otherwise all of it."""
    whole = page.body or page
    for name in ("main", "article"):
        parts = page.find_all(name)
        if len(parts) == 1 and 2 * len(parts[0].get_text()) > len(whole.get_text()):
            return parts[0]
    return whole
