"""One path, written with or without a slash at its end: both answer, and no redirect loses a body."""

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlashMiddleware:
    """Routes are declared without a slash at the end; SDKs ask for collections with one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if path.endswith("/") and path.startswith("/v1/"):
            scope = {**scope, "path": path.rstrip("/")}
        await self._app(scope, receive, send)
