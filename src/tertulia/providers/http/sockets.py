"""Sockets to a host by name: its addresses are tried as RFC 8305 tells, so that a broken family costs 0.25 s."""

import asyncio
import socket
from asyncio.staggered import staggered_race
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final

_NEXT_ATTEMPT: Final = 0.25  # seconds

_Address = tuple[socket.AddressFamily, Any]


async def open_socket(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket to the first address of the host that answers.

    :raises OSError: if none does; the error is the first one.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = _alternating([(family, address) for family, _, _, _, address in found])
    if len(addresses) == 1:
        return await _connected(addresses[0])
    winner, _, errors = await staggered_race([partial(_connected, address) for address in addresses], _NEXT_ATTEMPT)
    if winner is None:
        raise next((error for error in errors if error is not None), OSError(f"no address of {host} answers"))
    return winner


def _alternating(addresses: list[_Address]) -> list[_Address]:
    """The families in turn, the resolver's favourite first."""
    first = [entry for entry in addresses if entry[0] == addresses[0][0]]
    others = [entry for entry in addresses if entry[0] != addresses[0][0]]
    return [entry for entry in chain.from_iterable(zip_longest(first, others)) if entry is not None]


async def _connected(entry: _Address) -> socket.socket:
    family, address = entry
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  the standard library's signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
