"""The composition root: the only place that names concrete adapters and says what is built from what."""

import asyncio
import secrets
from datetime import timedelta
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.router import build_api
from tertulia.domain.errors import StoreUnavailable, TertuliaError
from tertulia.engine.agents import Agents
from tertulia.engine.callbacks import Callbacks
from tertulia.engine.chores import Chores
from tertulia.engine.conversations import Conversations
from tertulia.engine.describing import Describer
from tertulia.engine.history import Histories
from tertulia.engine.preview import Previews
from tertulia.engine.recovery import end_unfinished
from tertulia.engine.retention import prune_daily
from tertulia.engine.runs import Runs, RunSettings
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.store import Store
from tertulia.providers.catalogue import build_catalogue
from tertulia.providers.local import LocalProvider
from tertulia.settings import Settings, WebSettings
from tertulia.store.event_log import LocalEventLog
from tertulia.store.sqlite import open_sqlite
from tertulia.tools import builtin_tools
from tertulia.tools.callback_sender import GuardedSender

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> "Application":
    """The server as an ASGI application; it opens its database when it starts and closes it when it stops."""
    return Application(settings)


class Application:
    """Opens the services at start, answers with them, and closes them at the end.

    The API is built from open services, so no part of it ever meets one that is not there yet.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api: FastAPI | None = None
        self._services: Services | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._api is None:
            raise StoreUnavailable("The server is starting.")
        else:
            await self._api(scope, receive, send)

    @property
    def active_runs(self) -> int:
        """How many replies are being made."""
        return self._services.runs.active if self._services else 0

    async def drain(self, grace: float) -> None:
        """End what is running, so that every reader is told: by itself within ``grace`` seconds, or cancelled."""
        if self._services is not None:
            await self._services.runs.drain(grace)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The protocol of an ASGI server's life: a failed start is raised, for the command line to tell."""
        await receive()
        services = self._services = await open_services(self._settings)
        await services.runs.resume()
        for run in await services.callbacks.unsent():
            services.chores.begin(run)
        pruning = asyncio.create_task(prune_daily(services.store, timedelta(seconds=self._settings.event_retention)))
        self._api = build_api(services)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        pruning.cancel()
        await close_services(services)
        await send({"type": "lifespan.shutdown.complete"})


async def open_services(settings: Settings) -> Services:
    """Everything the API needs, open and recovered from whatever the last process left.

    :raises DataDirectoryHeld: if another server uses the data directory.
    :raises StoreUnavailable: if the database cannot be opened.
    """
    store = await open_sqlite(settings.database_path)
    try:
        await end_unfinished(store)
        local = LocalProvider(settings.providers.local)
        catalogue = build_catalogue(settings.providers, settings.default_model, others=(local,))
    except TertuliaError:
        await store.close()
        raise
    key = settings.api_key.get_secret_value() if settings.api_key else None
    api_settings = ApiSettings(
        api_key=key,
        max_body_bytes=settings.max_body_bytes,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
    )
    run_settings = RunSettings(
        approval_deadline=timedelta(seconds=settings.approval_deadline),
        queue_limit=settings.queue_limit,
        compaction_threshold=settings.compaction_threshold,
    )
    return services_over(
        store,
        catalogue,
        api_settings,
        settings.web,
        run_settings,
        description_model=settings.description_model,
        callback_secret=key.encode() if key else stored_secret(settings.data_dir / "callback.key"),
    )


def stored_secret(path: Path) -> bytes:
    """The secret that callbacks are signed with where there is no key; made once and kept for those who check them."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip().encode()


def services_over(
    store: Store,
    catalogue: Catalogue,
    settings: ApiSettings,
    web: WebSettings | None = None,
    run_settings: RunSettings | None = None,
    *,
    description_model: str | None = None,
    callback_secret: bytes | None = None,
) -> Services:
    """The services over an open store and a catalogue. Without a secret, callbacks are signed with a new one."""
    web = web or WebSettings()
    events = LocalEventLog(store)
    histories = Histories(store)
    tools = {tool.spec.id: tool for tool in builtin_tools(web)}
    sender = GuardedSender(allow_private_addresses=web.allow_private_addresses)
    callbacks = Callbacks(store, sender, callback_secret or secrets.token_bytes(32))
    describers = [Describer(store, catalogue, description_model)] if description_model else []
    chores = Chores([callbacks.send, *(describer.describe for describer in describers)])
    runs = Runs(store, events, catalogue, tools, histories, run_settings, chores)
    return Services(
        store=store,
        catalogue=catalogue,
        event_log=events,
        agents=Agents(store, catalogue, tools, runs),
        conversations=Conversations(store, catalogue, runs, histories),
        runs=runs,
        previews=Previews(store, catalogue, tools, run_settings or RunSettings()),
        callbacks=callbacks,
        chores=chores,
        tools=tools,
        settings=settings,
    )


async def close_services(services: Services) -> None:
    """End what is running, then let go of models and database."""
    await services.runs.close()
    await services.catalogue.close()
    await services.store.close()
    log.info("stopped")
