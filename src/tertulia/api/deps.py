"""What routes work with: the services the application was built from, as FastAPI dependencies."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.requests import HTTPConnection

from tertulia.engine.agents import Agents
from tertulia.engine.callbacks import Callbacks
from tertulia.engine.conversations import Conversations
from tertulia.engine.lifecycle.context_window import ContextWindows
from tertulia.engine.lifecycle.end_hooks import EndHooks
from tertulia.engine.lifecycle.preview import Previews
from tertulia.engine.runs import Runs
from tertulia.engine.stored_providers import StoredProviders
from tertulia.engine.tools.custom import CustomTools
from tertulia.engine.tools.direct_runs import ToolRuns
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.ports.apart import Apart
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog
from tertulia.ports.sandbox import Sandbox
from tertulia.ports.signals import Signals
from tertulia.ports.store import Store
from tertulia.ports.telemetry import MetricsPage, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The part of the settings the API itself obeys.

    No ``api_key`` means that every program of this machine may call, by the names it has for itself or one of
    ``allowed_hosts``. Pages of ``cors_origins`` may call from browsers.
    """

    api_key: str | None = None
    max_body_bytes: int = 10 * 1024 * 1024
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the routes need, made once by the composition root."""

    store: Store
    catalogue: Catalogue
    event_log: EventLog
    agents: Agents
    conversations: Conversations
    runs: Runs
    context_windows: ContextWindows
    previews: Previews
    callbacks: Callbacks
    end_hooks: EndHooks
    providers: StoredProviders
    signals: Signals
    telemetry: Telemetry
    metrics: MetricsPage
    toolbox: Toolbox
    custom_tools: CustomTools
    tool_runs: ToolRuns
    sandbox: Sandbox
    apart: Apart
    settings: ApiSettings = ApiSettings()


async def _services(connection: HTTPConnection) -> Services:
    return services_of(connection)


def services_of(connection: HTTPConnection) -> Services:
    """The same for a route that does without FastAPI's dependencies."""
    services: Services = connection.app.state.services
    return services


CurrentServices: TypeAlias = Annotated[Services, Depends(_services)]
