"""What is asked of every request before a route sees it: bodies that can be read, and text that can be kept."""

import asyncio
from typing import Any, Final, cast
from urllib.parse import unquote_plus, unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tertulia.api.codings import TAKEN, Unknown, codings_of, decode
from tertulia.api.errors import error_response, too_large
from tertulia.api.wire.common import MAX_SEARCHED

BOM: Final = b"\xef\xbb\xbf"
"""Some programs begin UTF-8 with it."""

_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_NO_NUL: Final = "holds a NUL character (U+0000), which no database can keep; leave it out"
_TOO_LONG: Final = f"has more than {MAX_SEARCHED} characters; shorten it"
_LONGEST_CHARACTER: Final = 12
"""Bytes of an address for one character: four of UTF-8, with three for each."""
_MAX_PARAMETERS: Final = 1000
_PIECE: Final = 128 * 1024

MOST_VALUES: Final = 200_000
"""Of one body. Ten thousand messages, as many as a request may have, are some sixty thousand."""


class ContentsMiddleware:
    """Decodes bodies; refuses codings and character sets that are not taken, and NUL or no text in an address."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = _refusal(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        try:
            codings = codings_of(scope)
        except Unknown as unknown:
            taken = " and ".join(TAKEN)
            detail = f"A body with content-encoding '{unknown}' is not supported; {taken} are. Or send it uncompressed."
            await error_response(415, detail, {"accept-encoding": ", ".join(TAKEN)})(scope, receive, send)
            return
        if codings:
            receive = decode(receive, codings, self._max_body_bytes, too_large(self._max_body_bytes))
        await self._app(scope, receive, send)


def refuse_nul(raw: bytes, sent: Any) -> None:
    """Refuse a body with NUL in it. Raw bytes are looked through first, because there hardly ever is one.

    :raises HTTPException: naming the field.
    """
    if b"\\u0000" not in raw:
        return
    waiting: list[tuple[str, Any]] = [("", sent)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            raise HTTPException(422, f"'{place[1:][:200] or 'the text'}' in the body {_NO_NUL}.")
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            if any("\0" in name for name in fields):
                raise HTTPException(422, f"The name of a field of '{place[1:][:200] or 'the body'}' {_NO_NUL}.")
            waiting += [(f"{place}.{name}", item) for name, item in fields.items()]
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            waiting += [(f"{place}[{number}]", item) for number, item in enumerate(items)]


async def refuse_crowd(raw: bytes) -> None:
    """Refuse a body of very many values before it is parsed, which nobody else's request could come in between.

    :raises HTTPException: if there are more than ``MOST_VALUES``.
    """
    # Most large bodies are long texts, whose commas are soon counted.
    if raw.count(b",") >= MOST_VALUES and await asyncio.to_thread(_values, raw) > MOST_VALUES:
        raise HTTPException(422, f"The body holds more than {MOST_VALUES} values. Split it into several requests.")


def _values(raw: bytes) -> int:
    """How many values there are, but for empty objects and lists; enough once they are too many.

    In pieces, between which other threads have their turn.
    """
    count, start, inside = 1, 0, False
    while start < len(raw) and count <= MOST_VALUES:
        end = start + _PIECE
        while end < len(raw) and raw[end - 1 : end] == b"\\":  # an escape stays in one piece
            end += 1
        piece = raw[start:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        outside = piece.split(b'"')[inside::2]
        count += sum(text.count(b",") for text in outside)
        inside ^= piece.count(b'"') % 2 == 1
        start = end
    return count


def _refusal(scope: Scope) -> Response | None:
    if "\0" in scope["path"]:
        return error_response(404, "No address contains a NUL character.")
    if (query := scope["query_string"]) and (wrong := _wrong_parameter(query)):
        return error_response(422, wrong)
    for name, value in scope["headers"]:
        if name == b"content-type" and b"charset" in value.lower() and (charset := _foreign_charset(value)):
            return error_response(
                415, f"The charset '{charset[:100]}' is not supported. JSON is UTF-8: send it as application/json."
            )
    return None


def _foreign_charset(content_type: bytes) -> str | None:
    for parameter in content_type.decode("latin-1").split(";")[1:]:
        name, _, value = parameter.partition("=")
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower().startswith("charset") and charset not in _CHARSETS:
            return charset
    return None


def _wrong_parameter(query: bytes) -> str | None:
    if query.count(b"&") >= _MAX_PARAMETERS:
        return f"The address has more than {_MAX_PARAMETERS} parameters. Send fewer."
    if b"%" not in query and query.isascii() and b"\0" not in query and len(query) <= MAX_SEARCHED:
        return None
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        complaint = _complaint(name) or _complaint(value)
        if complaint:
            shown = unquote_plus(name[:300].decode("latin-1"))[:100].replace("\0", "")
            return f"'{shown}' in the query {complaint}."
    return None


def _complaint(parameter: bytes) -> str | None:
    if len(parameter) > MAX_SEARCHED * _LONGEST_CHARACTER:  # it takes long to read
        return _TOO_LONG
    raw = unquote_to_bytes(parameter)
    if b"\0" in raw:
        return _NO_NUL
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "is not UTF-8; percent-encode its UTF-8 bytes"
    return _TOO_LONG if len(text) > MAX_SEARCHED else None
