"""Fetching an address a model names, without becoming its way into this machine or the network around it.

A host is resolved once; all of its addresses must be public; the connection goes to the address that was checked and
not to the name, so that a second, different answer of the name server changes nothing. Each redirect is a new address
and is checked the same way. Proxies of the environment are not used: they would resolve the name again.
"""

import asyncio
import functools
import ssl
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import httpx2

from tertulia.domain.errors import TertuliaError
from tertulia.tools.public_addresses import Resolver, is_public, resolve

MAX_REDIRECTS: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_MAX_ADDRESSES: Final = 3  # that are tried, one after the other
_CONNECT_SECONDS: Final = 5.0
_HEADERS: Final = {
    "user-agent": "Mozilla/5.0 (compatible; Tertulia)",
    "accept-encoding": "gzip",
}
_PAGES: Final = "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.9,*/*;q=0.5"


class FetchFailed(TertuliaError):
    """An address that may not be fetched, or could not be. The message is written for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A reply with a status below 400. ``url`` is where the redirects led, ``content_type`` the whole header."""

    url: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedClient:
    """What it takes to fetch safely. ``max_bytes`` holds for the body on the wire and for the unpacked one."""

    is_allowed: Callable[[str], bool] = is_public
    resolver: Resolver = resolve
    seconds: float = 30.0
    max_bytes: int = 5 * 1024 * 1024
    accept: str = _PAGES

    def anywhere(self) -> "GuardedClient":
        """One that fetches from private addresses as well, where whoever runs the server allows it."""
        return replace(self, is_allowed=_anywhere)

    async def get(self, address: str) -> Fetched:
        """:raises FetchFailed: if it is refused, fails, is too large or takes too long."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._follow(_url(address))
        except TimeoutError:
            raise FetchFailed(f"{address} did not answer in {self.seconds:g} seconds.") from None

    async def _follow(self, url: httpx2.URL) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._get(url, await self._checked(url))
            if isinstance(found, Fetched):
                return found
            url = found
        raise FetchFailed(f"{url} is one redirect too many: at most {MAX_REDIRECTS} are followed.")

    async def _checked(self, url: httpx2.URL) -> Sequence[str]:
        """The addresses of a host, if every one of them may be connected to."""
        try:
            addresses = await self.resolver(url.host, _port(url))
        except (OSError, UnicodeError):
            raise FetchFailed(f"There is no host '{url.host}'.") from None
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise FetchFailed(
                f"{url.host} is not a host of the public internet, and this server fetches no others. "
                "Whoever runs it can allow them with TERTULIA_ALLOW_PRIVATE_ADDRESSES=true."
            )
        return addresses[:_MAX_ADDRESSES]

    async def _get(self, url: httpx2.URL, addresses: Sequence[str]) -> Fetched | httpx2.URL:
        """The page, or where it has moved."""
        async with httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False) as transport:
            response = await _sent(transport, url, addresses, {"accept": self.accept})
            try:
                if response.is_redirect and "location" in response.headers:
                    return _joined(url, response.headers["location"])
                if response.is_error:
                    raise FetchFailed(f"{url} answers with status {response.status_code} {response.reason_phrase}.")
                return Fetched(
                    url=str(url),
                    content_type=response.headers.get("content-type", ""),
                    body=await self._body(url, response),
                )
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                raise FetchFailed(f"{url} broke off: {error or type(error).__name__}.") from error
            finally:
                await response.aclose()

    async def _body(self, url: httpx2.URL, response: httpx2.Response) -> bytes:
        packed = bytearray()
        async for chunk in response.aiter_raw():
            packed += chunk
            if len(packed) > self.max_bytes:
                raise FetchFailed(f"{url} is longer than {self.max_bytes} bytes.")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "identity":
            return bytes(packed)
        if encoding not in {"gzip", "x-gzip"}:
            raise FetchFailed(f"{url} is packed as '{encoding}', which nobody asked for.")
        return self._unpacked(url, packed)

    def _unpacked(self, url: httpx2.URL, packed: bytearray) -> bytes:
        """Never more than the limit in memory: a few kilobytes can unpack to gigabytes."""
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            body = unpacker.decompress(packed, self.max_bytes + 1)
        except zlib.error as error:
            raise FetchFailed(f"{url} says it is packed with gzip, and is not: {error}.") from error
        if len(body) > self.max_bytes:
            raise FetchFailed(f"{url} is longer than {self.max_bytes} bytes.")
        return body


def _anywhere(_address: str) -> bool:
    return True


async def _sent(
    transport: httpx2.AsyncHTTPTransport, url: httpx2.URL, addresses: Sequence[str], headers: dict[str, str]
) -> httpx2.Response:
    """The reply of the first address that can be connected to; the host's name goes into the header and into TLS."""
    timeout = {"connect": _CONNECT_SECONDS, "read": None, "write": None, "pool": None}
    failure: httpx2.HTTPError | None = None
    for address in addresses:
        request = httpx2.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={"host": url.netloc.decode("ascii")} | _HEADERS | headers,
            extensions={"sni_hostname": url.host, "timeout": timeout},
        )
        try:
            return await transport.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            failure = error
        except httpx2.HTTPError as error:
            raise FetchFailed(f"{url} does not answer: {error or type(error).__name__}.") from error
    raise FetchFailed(f"{url} cannot be connected to: {failure or 'no address'}.")


def _url(address: str) -> httpx2.URL:
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise FetchFailed(f"'{address}' is not an address: {error}.") from None
    if url.userinfo:
        raise FetchFailed("The address holds a name and password; give it without them.")
    if url.scheme not in _PORTS or not url.host:
        raise FetchFailed(f"'{address}' is not an address that starts with http:// or https://.")
    return url


def _joined(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return _url(str(url.join(location)))
    except httpx2.InvalidURL as error:
        raise FetchFailed(f"{url} redirects to '{location}', which is not an address: {error}.") from None


def _port(url: httpx2.URL) -> int:
    return url.port or _PORTS[url.scheme]


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)
