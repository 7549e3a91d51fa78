"""Where a command of the command line keeps the credentials of a provider: with a server that runs, or its database."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import httpx2

from tertulia.app import opened_providers
from tertulia.cli.problems import Problem
from tertulia.cli.serve import make_data_dir
from tertulia.domain.errors import DataDirectoryHeld
from tertulia.domain.providers import Credentials, ProviderAccount
from tertulia.engine.stored_providers import StoredProviders
from tertulia.ports.queries import ProviderQuery
from tertulia.settings import Settings

_TIMEOUT: Final = 10.0
_UNAUTHENTICATED: Final = 401


class Place(Protocol):
    @property
    def when(self) -> str:
        """From when on a server can use what is kept here."""
        ...

    async def put(self, name: str, provider_type: str, api_key: str) -> None:
        """Keep the key under the name, in place of another one."""
        ...

    async def remove(self, name: str) -> bool:
        """Forget what is kept under the name; whether there was anything."""
        ...


async def place_of(settings: Settings, url: str | None) -> Place:
    """The server at the URL, or else the one that the settings describe if it runs, or else its database.

    :raises Problem: if none of them can be used.
    """
    server = RunningServer(url or _address(settings), settings.api_key.get_secret_value() if settings.api_key else None)
    if await server.runs():
        await server.find("")  # the key is wanted
        return server
    if url is not None:
        raise Problem(f"no server answers at {url}.")
    database = ClosedDatabase(settings, _address(settings))
    await database.check()
    return database


def _address(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  it is called, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


class RunningServer:
    """Implements ``Place`` over the API."""

    when = "and can be used at once"

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def runs(self) -> bool:
        """Whether a Tertulia server answers.

        :raises Problem: if another program does.
        """
        try:
            async with self._client() as client:
                reply = await client.get("/v1/health/")
            body: Any = reply.json()
        except httpx2.TransportError:
            return False
        except ValueError:
            body = None
        if not isinstance(body, dict) or "version" not in body:
            raise Problem(f"a program other than Tertulia answers at {self._url}. Say where the server is with --url.")
        return True

    async def find(self, name: str) -> str | None:
        """The id of the stored provider."""
        found = await self._ask("GET", "/v1/providers/", params={"name": name})
        return found[0]["id"] if found else None

    async def put(self, name: str, provider_type: str, api_key: str) -> None:
        if id_ := await self.find(name):
            await self._ask("PATCH", f"/v1/providers/{id_}", json={"api_key": api_key})
        else:
            body = {"name": name, "provider_type": provider_type, "api_key": api_key}
            await self._ask("POST", "/v1/providers/", json=body)

    async def remove(self, name: str) -> bool:
        if id_ := await self.find(name):
            await self._ask("DELETE", f"/v1/providers/{id_}")
        return id_ is not None

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            async with self._client() as client:
                reply = await client.request(method, path, headers=self._headers, **options)
            if reply.is_success:
                return reply.json()
            told = str(reply.json()["detail"])
        except httpx2.TransportError as error:
            raise Problem(f"the server at {self._url} no longer answers: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(f"the server at {self._url} does not speak this version's API.") from error
        if reply.status_code == _UNAUTHENTICATED:
            raise Problem(f"the server at {self._url} requires its key: set TERTULIA_API_KEY.")
        raise Problem(f"the server at {self._url} refused: {told}")

    def _client(self) -> httpx2.AsyncClient:
        # A proxy of the environment is for the world outside, not for one's own server.
        return httpx2.AsyncClient(base_url=self._url, timeout=_TIMEOUT, trust_env=False)


class ClosedDatabase:
    """Implements ``Place`` over the database of a server that does not run.

    It is opened only as long as something is written: people take their time, and may start the server meanwhile.
    """

    when = "once the server is started"

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url

    async def check(self) -> None:
        async with self._opened():
            pass

    async def put(self, name: str, provider_type: str, api_key: str) -> None:
        async with self._opened() as providers:
            found = await providers.find(ProviderQuery(name=name))
            if found:
                await providers.update(found[0].id, {"api_key": api_key})
                return
            account = ProviderAccount(name=name, provider_type=provider_type, credentials=Credentials(api_key=api_key))
            await providers.create(account)

    async def remove(self, name: str) -> bool:
        async with self._opened() as providers:
            found = await providers.find(ProviderQuery(name=name))
            for provider in found:
                await providers.delete(provider.id)
        return bool(found)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[StoredProviders]:
        os.umask(0o077)  # as the server does
        make_data_dir(self._settings)
        try:
            async with opened_providers(self._settings) as providers:
                yield providers
        except DataDirectoryHeld as error:
            raise Problem(
                f"a server (pid {error.fields.get('pid')}) uses the data directory and does not answer at {self._url}. "
                "Say where it is with --url, or stop it."
            ) from error
