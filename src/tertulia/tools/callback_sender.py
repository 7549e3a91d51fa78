"""Posting callbacks, under the same rule as every address a stranger names: none of this machine or its network.

Not a tool. It stands here for the rule's sake, which `public_addresses` keeps.
"""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from tertulia.domain.errors import InvalidArgument
from tertulia.ports.callbacks import CallbackFailed
from tertulia.tools.public_addresses import Resolver, is_public, resolve

_PORTS: Final = {"http": 80, "https": 443}
_HINT: Final = "TERTULIA_ALLOW_PRIVATE_ADDRESSES=true allows them."


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedSender:
    """Connects to the address that was checked, not to the name: a second answer of the name server changes nothing.

    What it says names the host alone: the rest of an address may be a secret, and words end up in logs.
    """

    allow_private_addresses: bool = False
    resolver: Resolver = resolve
    seconds: float = 10.0

    def check(self, url: str) -> None:
        """:raises InvalidArgument: as the port says."""
        parsed = _parsed(url)
        if parsed is None:
            raise InvalidArgument(
                "INVALID_ARGUMENT: callback_url must be an address that starts with http:// or https://, without a "
                "user name or password: its run shows it. Check the signature of what arrives there instead.",
            )
        if not self._may_connect(parsed.hostname or ""):
            raise InvalidArgument(
                f"INVALID_ARGUMENT: callback_url is of '{parsed.hostname}', which is this machine or a private "
                f"network. {_HINT}",
            )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """:raises CallbackFailed: as the port says."""
        parsed = _parsed(url)
        if parsed is None:
            raise CallbackFailed("callback_url is no http(s) address.", final=True)
        try:
            async with asyncio.timeout(self.seconds):
                return await self._sent(parsed, body, headers, await self._addresses(parsed))
        except TimeoutError:
            raise CallbackFailed(f"{parsed.hostname} did not answer in {self.seconds:g} seconds.") from None

    async def _addresses(self, url: SplitResult) -> Sequence[str]:
        host = url.hostname or ""
        try:
            addresses = await self.resolver(host, url.port or _PORTS[url.scheme])
        except (OSError, UnicodeError):
            raise CallbackFailed(f"There is no host '{host}'.") from None
        if not addresses or not all(self.allow_private_addresses or is_public(address) for address in addresses):
            raise CallbackFailed(f"{host} is not a host of the public internet. {_HINT}", final=True)
        return addresses

    async def _sent(self, url: SplitResult, body: bytes, headers: Mapping[str, str], addresses: Sequence[str]) -> int:
        import httpx2  # noqa: PLC0415  with the first callback: it costs start-up time that most servers never need

        async with httpx2.AsyncHTTPTransport(trust_env=False) as transport:
            request = httpx2.Request(
                "POST",
                httpx2.URL(url._replace(fragment="").geturl()).copy_with(host=addresses[0]),
                headers={"host": url.netloc, **headers},
                content=body,
                extensions={"sni_hostname": url.hostname},
            )
            try:
                response = await transport.handle_async_request(request)
            except httpx2.HTTPError as error:
                raise CallbackFailed(f"{url.hostname} does not answer: {error or type(error).__name__}.") from error
            await response.aclose()
            return response.status_code

    def _may_connect(self, host: str) -> bool:
        """As far as the host tells without asking a name server."""
        if self.allow_private_addresses:
            return True
        if host == "localhost" or host.endswith(".localhost"):
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return True
        return is_public(host)


def _parsed(url: str) -> SplitResult | None:
    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and " " not in url and port != 0
    return parsed if plain and parsed.scheme in _PORTS and parsed.hostname and "@" not in parsed.netloc else None
