"""The composition root: the only place that names concrete adapters and says how they are wired together."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.errors import error_response
from tertulia.api.router import build_api
from tertulia.domain.errors import TertuliaError
from tertulia.engine.agents import Agents
from tertulia.engine.approval_deadline import watch_deadlines
from tertulia.engine.callbacks import Callbacks
from tertulia.engine.conversations import Conversations
from tertulia.engine.descriptions import Describer
from tertulia.engine.lifecycle.context_window import ContextWindows
from tertulia.engine.lifecycle.end_hooks import EndHooks
from tertulia.engine.lifecycle.preview import Previews
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.retention import prune_daily
from tertulia.engine.runs import Runs
from tertulia.engine.stored_providers import StoredProviders
from tertulia.engine.tools.custom import CustomTools
from tertulia.engine.tools.direct_runs import ToolRuns
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.history import Histories
from tertulia.engine.turn.images import Images
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.sandbox import Sandbox
from tertulia.ports.signals import NoSignals, Signals
from tertulia.ports.store import Store
from tertulia.ports.telemetry import Happening, PoolUse, Telemetry
from tertulia.ports.tool import Tool
from tertulia.providers.accounts import ProviderAccounts
from tertulia.providers.catalogue import ProviderCatalogue, build_catalogue
from tertulia.providers.local import LocalProvider
from tertulia.sandbox.service import ConfinedSandbox
from tertulia.settings import Settings, WebSettings
from tertulia.store.database import open_database
from tertulia.store.event_log import StoredEventLog
from tertulia.store.secrets import CallbackSecret, FernetSecrets
from tertulia.telemetry.collector import open_traces
from tertulia.telemetry.metrics import Metrics, Sources
from tertulia.tools import builtin_tools
from tertulia.tools.apart import ChildProcesses
from tertulia.tools.callback_sender import GuardedSender
from tertulia.tools.custom import CustomTool
from tertulia.tools.image_fetcher import GuardedImages

log = structlog.get_logger(__name__)


def create_app(
    settings: Settings,
    *,
    tools: Sequence[Tool] = (),
    faults: Faults = no_faults,
    worker: int = 0,
    life: str = "",
    connections: Callable[[], int] | None = None,
) -> "Application":
    """The server as an ASGI application; it opens its database when it starts and closes it when it stops.

    ``tools`` are offered beside the built-in ones; ``faults`` is for tests of what survives a crash. ``worker`` is the
    number of this process among those behind one address, ``life`` what names it where another may have to say that it
    is dead. ``connections`` says how many clients have open to it.
    """
    return Application(settings, tools, faults, Metrics(worker, connections), life)


class Application:
    """Opens the services at start, answers with them, and closes them at the end.

    The API is built from open services, so no part of it ever meets one that is not there yet.
    """

    def __init__(
        self,
        settings: Settings,
        tools: Sequence[Tool] = (),
        faults: Faults = no_faults,
        metrics: Metrics | None = None,
        life: str = "",
    ) -> None:
        self._settings = settings
        self._life = life
        self._metrics = metrics or Metrics()
        self._tools = tools
        self._faults = faults
        self._api: FastAPI | None = None
        self._services: Services | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._api is None:
            await error_response(503, "The server is starting.")(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    @property
    def active_runs(self) -> int:
        """How many replies are in progress."""
        return self._services.runs.active if self._services else 0

    def mourn(self, life: str) -> None:
        """Take over what another process was answering, which is dead; see :meth:`Runs.mourn`."""
        if self._services is not None:
            self._services.runs.mourn(life)

    def retire(self) -> None:
        """Announce that the server is about to stop; see :meth:`Runs.retire`."""
        if self._services is not None:
            self._services.runs.retire()

    async def drain(self, grace: float) -> None:
        """End what is running, so that every reader is told: by itself within ``grace`` seconds, or cancelled."""
        if self._services is not None:
            await self._services.runs.drain(grace)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The protocol of an ASGI server's life: a failed start is raised, for the command line to tell."""
        await receive()
        metrics = self._metrics
        traces = open_traces(metrics.worker)
        services = self._services = await open_services(
            self._settings,
            self._tools,
            self._faults,
            metrics,
            [traces.telemetry] if traces else [],
            life=self._life,
        )
        await services.signals.start()
        await services.runs.open()
        telling = asyncio.create_task(services.callbacks.catch_up())
        pruning = asyncio.create_task(prune_daily(services.store, timedelta(seconds=self._settings.event_retention)))
        sweeping = asyncio.create_task(services.agents.sweep())
        deadline = timedelta(seconds=self._settings.approval_deadline)
        denying = asyncio.create_task(watch_deadlines(services.store, deadline))
        looking = asyncio.create_task(services.providers.keep_up())
        watching = asyncio.create_task(metrics.watch_loop())
        self._api = build_api(services)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in (telling, pruning, sweeping, denying, looking, watching):
            task.cancel()
        await close_services(services)
        if traces is not None:
            await asyncio.to_thread(traces.close)
        await send({"type": "lifespan.shutdown.complete"})


async def open_services(
    settings: Settings,
    tools: Sequence[Tool] = (),
    faults: Faults = no_faults,
    metrics: Metrics | None = None,
    watchers: Sequence[Telemetry] = (),
    *,
    life: str = "",
) -> Services:
    """Everything the API needs, open and recovered from whatever the last process left.

    ``watchers`` are told what happens, beside ``metrics``.

    :raises DataDirectoryHeld: if another server uses the data directory.
    :raises StoreUnavailable: if the database cannot be opened.
    """
    database = await open_database(settings)
    store, signals = database.store, database.signals
    try:
        local = LocalProvider(settings.providers.local)
        catalogue = build_catalogue(settings.providers, settings.default_model, others=(local,))
        providers = stored_providers(settings, store, catalogue, signals)
        await providers.open()
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
        max_runs=settings.max_runs,
        lease=settings.lease,
        life=life,
    )
    return build_services(
        Parts(
            store=store,
            catalogue=catalogue,
            providers=providers,
            signals=signals,
            api=api_settings,
            web=settings.web,
            runs=run_settings,
            description_model=settings.description_model,
            callback_secret=CallbackSecret(key, settings.data_dir / "callback.key"),
            tools=tools,
            sandbox=ConfinedSandbox(tier="off" if settings.tool_sandbox == "off" else None),
            faults=faults,
            metrics=metrics or Metrics(),
            watchers=watchers,
            pool=database.pool,
        )
    )


def stored_providers(
    settings: Settings, store: Store, catalogue: ProviderCatalogue, signals: Signals
) -> StoredProviders:
    """The providers in the store; those of the catalogue follow them."""
    encryption = FernetSecrets(
        settings.secret_keys, None if settings.postgres_url else settings.data_dir / "secret.key"
    )
    return StoredProviders(store, encryption, ProviderAccounts(catalogue, settings.providers), signals)


@asynccontextmanager
async def opened_providers(settings: Settings) -> AsyncGenerator[StoredProviders]:
    """The providers in a database that no server has open, to be changed by the command line.

    :raises DataDirectoryHeld: if a server has it open.
    :raises StoreUnavailable: if the database cannot be opened.
    """
    store = (await open_database(settings)).store
    catalogue = build_catalogue(settings.providers, None)
    try:
        yield stored_providers(settings, store, catalogue, NoSignals())
    finally:
        await catalogue.close()
        await store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services are built from. ``tools`` are offered beside the built-in ones.

    ``watchers`` are told what happens, beside ``metrics``. ``description_model`` describes conversations, if any does.
    """

    store: Store
    catalogue: Catalogue
    providers: StoredProviders
    signals: Signals
    api: ApiSettings
    web: WebSettings
    runs: RunSettings
    description_model: str | None
    callback_secret: Callable[[], bytes]
    tools: Sequence[Tool]
    sandbox: Sandbox
    faults: Faults
    metrics: Metrics
    watchers: Sequence[Telemetry]
    pool: PoolUse | None


def build_services(parts: Parts) -> Services:
    """The services over an open store and a catalogue."""
    store, catalogue, signals, metrics = parts.store, parts.catalogue, parts.signals, parts.metrics
    web, run_settings, faults = parts.web, parts.runs, parts.faults
    telemetry = told_to(metrics, *parts.watchers)
    events = StoredEventLog(store, signals, telemetry)
    images = Images(GuardedImages(allow_private_addresses=web.allow_private_addresses))
    histories = Histories(store, images)
    apart = ChildProcesses()
    toolbox = Toolbox((*builtin_tools(web, apart), *parts.tools), lambda tool: CustomTool(tool, parts.sandbox))
    custom_tools = CustomTools(store, toolbox, apart)
    sender = GuardedSender(allow_private_addresses=web.allow_private_addresses)
    callbacks = Callbacks(store, sender, parts.callback_secret)
    describers = [Describer(store, catalogue, parts.description_model, telemetry)] if parts.description_model else []
    end_hooks = EndHooks([callbacks.send, *(describer.describe for describer in describers)])
    runs = Runs(
        store,
        events,
        catalogue,
        toolbox,
        histories,
        run_settings,
        end_hooks,
        signals=signals,
        faults=faults,
        telemetry=telemetry,
    )
    metrics.look_at(Sources(store=store, active_runs=lambda: runs.active, lag=lambda: events.lag, pool=parts.pool))
    return Services(
        store=store,
        catalogue=catalogue,
        event_log=events,
        agents=Agents(store, catalogue, toolbox, runs),
        conversations=Conversations(store, catalogue, runs, histories, faults),
        runs=runs,
        context_windows=ContextWindows(store, catalogue, toolbox, images),
        previews=Previews(store, catalogue, toolbox, images, run_settings),
        callbacks=callbacks,
        end_hooks=end_hooks,
        providers=parts.providers,
        signals=signals,
        telemetry=telemetry,
        metrics=metrics,
        toolbox=toolbox,
        custom_tools=custom_tools,
        tool_runs=ToolRuns(store, toolbox, custom_tools),
        sandbox=parts.sandbox,
        apart=apart,
        settings=parts.api,
    )


def told_to(*watchers: Telemetry) -> Telemetry:
    """A listener that passes everything to all of them."""
    if len(watchers) == 1:
        return watchers[0]

    def tell(happening: Happening) -> None:
        for watcher in watchers:
            watcher(happening)

    return tell


async def close_services(services: Services) -> None:
    """End what is running, then let go of models and database."""
    await services.runs.close()
    await services.sandbox.close()
    await asyncio.to_thread(services.apart.close)
    await services.catalogue.close()
    await services.signals.close()
    await services.store.close()
    log.info("stopped")
