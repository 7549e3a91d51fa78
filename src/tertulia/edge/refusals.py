"""Requests that are refused before any route sees them. The application answers them too, as it does every failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

EXTENSION: Final = "tertulia.refusal"
"""Where the scope of a request that is refused says so."""

_METHODS: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to a request that the server does not understand, or does not want."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refusal_of(scope: Mapping[str, Any]) -> Refusal | None:
    """The refusal a scope carries."""
    found: Refusal | None = scope.get("extensions", {}).get(EXTENSION)
    return found


def malformed(what: str) -> Refusal:
    """``what`` says which rule of HTTP the request breaks."""
    return Refusal(400, f"This is not a valid HTTP request: {what}. Nothing was done.")


def target_too_long(limit: int) -> Refusal:
    return Refusal(
        414, f"The address in the request line is longer than {limit} bytes. Shorten it, or send the data in the body."
    )


def header_too_large(limit: int) -> Refusal:
    return Refusal(
        431,
        f"The request's headers are larger than {limit} bytes. "
        "Send less, or raise the server's limit (TERTULIA_MAX_HEADER_BYTES).",
    )


def too_many_headers(limit: int) -> Refusal:
    return Refusal(431, f"The request has more than {limit} headers. Send fewer.")


def too_slow(part: str) -> Refusal:
    return Refusal(
        408,
        f"The {part} of the request did not arrive in time. Send it again; if the network is that slow, "
        "raise the server's limit (TERTULIA_REQUEST_TIMEOUT).",
    )


def too_many_connections(limit: int) -> Refusal:
    return Refusal(
        503,
        f"The server has {limit} connections open, its limit. Try again, or raise the limit "
        "(TERTULIA_MAX_CONNECTIONS).",
    )


def no_websockets() -> Refusal:
    return Refusal(
        400, "This server does not support WebSocket. Replies are streamed as server-sent events over plain HTTP."
    )


def no_proxy(method: str) -> Refusal:
    return Refusal(405, f"{method} is for proxies, and this server is not one.", {"allow": _METHODS})


def unknown_coding(coding: str) -> Refusal:
    return Refusal(
        501,
        f"The transfer-encoding '{coding[:100]}' is not supported; send the body 'chunked', or with a content-length.",
    )


def unknown_expectation() -> Refusal:
    return Refusal(417, "The only expectation that this server supports is 'expect: 100-continue'.")
