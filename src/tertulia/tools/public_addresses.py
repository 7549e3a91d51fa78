"""Which addresses are of the public internet, and the ones a host name stands for. Connects to nothing."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host and a port to the addresses to connect to, as numbers; OSError if there are none."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Everything else in IPv6 is local, reserved or stands for an IPv4 address.
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver. Numbers in any notation the system reads come back in the usual one."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether the address is one anybody on the internet would reach, also if it hides in an IPv6 one."""
    bare, _, zone = address.partition("%")
    if zone:
        return False
    ip = _unwrapped(ipaddress.ip_address(bare))
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    # `is_global` alone lets multicast through.
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _unwrapped(ip: _Address) -> _Address:
    """The IPv4 address a mapped, 6to4 or NAT64 one leads to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
