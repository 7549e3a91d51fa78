"""What is asked of a connection's socket."""

import asyncio
import contextlib
import socket
from typing import Any, Final

_PROBES: Final = tuple(
    (getattr(socket, name), seconds)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
)
"""A peer that is gone without a word is noticed within two minutes, however long its stream is silent."""


def notice_dead_peers(transport: asyncio.BaseTransport) -> None:
    """Let the system ask now and then whether the other side is still there."""
    found = transport.get_extra_info("socket")
    if found is None or found.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # the other side may be gone already
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def addresses(transport: asyncio.BaseTransport) -> tuple[Any, Any, str]:
    """Our address, the client's, and the scheme, as a scope tells them."""
    scheme = "https" if transport.get_extra_info("sslcontext") else "http"
    return _pair(transport.get_extra_info("sockname")), _pair(transport.get_extra_info("peername")), scheme


def _pair(address: Any) -> tuple[str, int] | None:
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None  # pyright: ignore[reportUnknownArgumentType]
