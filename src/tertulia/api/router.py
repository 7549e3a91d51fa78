"""The HTTP application: the resources, in the order a request is matched against them, and the layers around them."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from tertulia import __version__
from tertulia.api import (
    agent_messages,
    agents,
    archives,
    blocks,
    compaction,
    conversations,
    docs_ui,
    errors,
    health,
    messages,
    metrics,
    models,
    openapi,
    providers,
    runs,
    search,
    steps,
    tags,
    tools,
)
from tertulia.api.auth import KeyMiddleware
from tertulia.api.browsers import BrowserMiddleware, PagesMiddleware
from tertulia.api.contents import ContentsMiddleware
from tertulia.api.deps import Services
from tertulia.api.errors import GuardMiddleware
from tertulia.api.heads import HeadMiddleware
from tertulia.api.observing import ObservingMiddleware, RouteMiddleware
from tertulia.api.paths import TrailingSlashMiddleware
from tertulia.api.unsupported import Unanswered

# Matching goes from top to bottom, so what is asked for most comes first.
RESOURCES: Final[tuple[APIRouter, ...]] = (
    conversations.router,
    agent_messages.router,
    messages.router,
    search.router,
    compaction.router,
    runs.router,
    steps.router,
    agents.router,
    blocks.router,
    archives.router,
    tools.router,
    models.router,
    providers.router,
    tags.router,
    health.router,
)


def build_api(services: Services, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The ASGI application over the services. ``lifespan`` opens and closes what they hold."""
    routes = _routes()
    unanswered = Unanswered(routes)
    app = FastAPI(
        title="Tertulia",
        version=__version__,
        description="Stateful agents and their conversations, over the Letta V1 REST API.",
        routes=[*routes, unanswered.route],  # the last: it answers whatever no other route did
        middleware=_layers(services),
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,  # served by api/openapi.py and api/docs_ui.py
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.router.default = unanswered  # for OPTIONS *, which is no path
    errors.install(app)
    return app


def _routes() -> Sequence[BaseRoute]:
    resources = [route for router in RESOURCES for route in router.routes]
    return [
        *resources,
        Route("/openapi.json", openapi.document_endpoint, include_in_schema=False),
        *docs_ui.ROUTES,
        metrics.ROUTE,
    ]


def _layers(services: Services) -> list[Middleware]:
    """From the outside in."""
    settings = services.settings
    layers = [Middleware(ObservingMiddleware, telemetry=services.telemetry)]
    if settings.cors_origins:
        # Around everything that may refuse: pages are to read refusals too, and a browser's preflight has no key.
        layers.append(Middleware(PagesMiddleware, origins=settings.cors_origins))
    layers.append(Middleware(GuardMiddleware, max_body_bytes=settings.max_body_bytes))
    if settings.api_key is None:
        layers.append(Middleware(BrowserMiddleware, hosts=settings.allowed_hosts, origins=settings.cors_origins))
    if settings.api_key is not None:
        layers.append(Middleware(KeyMiddleware, api_key=settings.api_key))
    layers += [
        Middleware(ContentsMiddleware, max_body_bytes=settings.max_body_bytes),
        Middleware(HeadMiddleware),
        Middleware(TrailingSlashMiddleware),
        Middleware(RouteMiddleware),
    ]
    return layers
