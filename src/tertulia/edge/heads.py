"""The head of a request: from what the parser calls out to the scope of ASGI, or to why the request is refused."""

import contextlib
from typing import Any, Final
from urllib.parse import unquote

import httptools

from tertulia.edge import refusals
from tertulia.edge.limits import Limits
from tertulia.edge.refusals import EXTENSION, Refusal

_CHUNKED: Final = b"chunked"
_CONTINUE: Final = b"100-continue"


class Refused(Exception):
    """The request is not to be read further."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class Head:
    """The head of one request while it comes. ``size`` is of its headers."""

    __slots__ = ("_coding", "_hosts", "_limits", "_upgrade", "expects_continue", "headers", "length", "size", "target")

    def __init__(self, limits: Limits) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.length: int | None = 0
        self.expects_continue = False
        self._hosts = 0
        self._upgrade = b""
        self._coding: bytes | None = None
        self._limits = limits

    def more_target(self, piece: bytes) -> None:
        self.target += piece
        if len(self.target) > self._limits.max_target_bytes:
            raise Refused(refusals.target_too_long(self._limits.max_target_bytes))

    def add(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.size += len(name) + len(value)
        if self.size > self._limits.max_header_bytes:
            raise Refused(refusals.header_too_large(self._limits.max_header_bytes))
        if len(self.headers) >= self._limits.max_headers:
            raise Refused(refusals.too_many_headers(self._limits.max_headers))
        self.headers.append((name, value))
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self._coding = value if self._coding is None else self._coding + b"," + value
            self.length = None
        elif name == b"expect":
            if value.lower() != _CONTINUE:
                raise Refused(refusals.unknown_expectation())
            self.expects_continue = True
        elif name == b"upgrade":
            self._upgrade = value.lower()

    def complete(self, method: str, version: str) -> tuple[str, bytes, bytes]:
        """Path, raw path and query of a request that may be answered.

        :raises Refused: if it may not.
        """
        if method in {"CONNECT", "TRACE"}:
            raise Refused(refusals.no_proxy(method))
        if version not in {"1.0", "1.1"}:
            raise Refused(refusals.malformed("it is neither HTTP/1.1 nor HTTP/1.0"))
        if b"websocket" in self._upgrade:
            raise Refused(refusals.no_websockets())
        if self._hosts > 1:
            raise Refused(refusals.malformed("it names more than one host"))
        if not self._hosts and version == "1.1":
            raise Refused(refusals.malformed("it has no host header"))
        if self._coding is not None:
            if version == "1.0":
                raise Refused(refusals.malformed("HTTP/1.0 has no transfer-encoding"))
            if self._coding.strip().lower() != _CHUNKED:
                raise Refused(refusals.unknown_coding(self._coding.decode("latin-1")))
        return self._place(method)

    def without_upgrade(self, method: str) -> bytes:
        """The head again, not asking for another protocol: an offer to change it may be ignored."""
        kept = [header for header in self.headers if header[0] != b"upgrade"]
        lines = [method.encode() + b" " + self.target + b" HTTP/1.1"]
        lines += [name + b": " + (value if name != b"connection" else _unupgraded(value)) for name, value in kept]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _place(self, method: str) -> tuple[str, bytes, bytes]:
        target = self.target.partition(b"#")[0]
        if not target.startswith(b"/"):
            if target == b"*" and method == "OPTIONS":
                return "*", b"*", b""
            target = self._absolute(target)
        raw, _, query = target.partition(b"?")
        try:
            path = raw.decode("ascii")
        except UnicodeDecodeError:
            raise Refused(
                refusals.malformed("its address contains bytes that are not ASCII; percent-encode them")
            ) from None
        return (unquote(path) if "%" in path else path), raw, query

    def _absolute(self, target: bytes) -> bytes:
        """The path of an address with a host in it, which then is the request's host."""
        parsed: Any = None
        with contextlib.suppress(httptools.HttpParserInvalidURLError):
            parsed = httptools.parse_url(target)  # whose parts may be None, whatever its type says
        if parsed is None or parsed.schema is None or parsed.host is None:
            raise Refused(refusals.malformed("its address is neither a path nor a URL"))
        host = parsed.host if parsed.port is None else b"%b:%d" % (parsed.host, parsed.port)
        self.headers[:] = [(b"host", host), *(header for header in self.headers if header[0] != b"host")]
        path = parsed.path or b"/"
        return path if parsed.query is None else path + b"?" + parsed.query


def scope_of(
    connection: dict[str, Any], head: Head, method: str, version: str, place: tuple[str, bytes, bytes]
) -> dict[str, Any]:
    """The scope of a request. ``connection`` is what is the same for all of a connection."""
    path, raw_path, query = place
    return connection | {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # each request's own, as all of its scope is
        "http_version": version,
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": head.headers,
    }


def refused_scope(
    connection: dict[str, Any], head: Head | None, method: str, version: str, refusal: Refusal
) -> dict[str, Any]:
    """The scope of a request that is refused, as far as it is known."""
    known = head or Head(Limits())
    scope = scope_of(connection, known, method, version, ("/", b"/", b""))
    return scope | {"extensions": {EXTENSION: refusal}}


def _unupgraded(connection: bytes) -> bytes:
    unwanted = (b"upgrade", b"http2-settings")
    return b", ".join(token for token in connection.split(b",") if token.strip().lower() not in unwanted)
