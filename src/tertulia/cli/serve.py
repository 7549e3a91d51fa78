"""`tertulia serve`: one server process, from the checked settings to the graceful stop."""

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

import click
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tertulia import __version__
from tertulia.cli.configured import load_settings, server_options
from tertulia.cli.logs import configure_logs
from tertulia.cli.problems import Problem
from tertulia.domain.errors import TertuliaError
from tertulia.settings import Settings, unknown_variables

_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 75
"""Seconds an idle connection is kept: longer than proxies and clients keep theirs, so that it is they who close it."""
_LAST_WORDS: Final = 3
"""Seconds that readers get to be told of the end of replies that were cut off."""

log = structlog.get_logger(__name__)


@click.command()
@server_options
def serve(**options: Any) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM)."""
    # What is made while starting stays, so looking for garbage in it is a seventh of the start, for nothing.
    gc.disable()
    settings = load_settings(options)
    configure_logs(settings.log_level, settings.log_format)
    for name in unknown_variables():
        log.warning("unknown setting", variable=name, hint="nothing reads it; see `tertulia doctor`")
    with listening_socket(settings.host, settings.port) as listener:
        make_data_dir(settings)
        run(settings, listener)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address, an IPv4 one when the name has both.

    :raises Problem: if the address is taken, not allowed, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Problem(_why_not_listening(host, port, error)) from error


def _why_not_listening(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program. Stop it, "
            "or choose another port with --port (0 takes any free one)."
        )
    if error.errno == errno.EACCES:
        return f"port {port} may only be used by the system's administrator. Choose one above 1023."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"'{host}' is no address of this machine. Use 127.0.0.1, or one that it has."
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def make_data_dir(settings: Settings) -> None:
    """The directories for the data, readable by their owner alone.

    :raises Problem: if they cannot be made.
    """
    for directory in (settings.data_dir, settings.database_path.parent):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Problem(f"cannot make the data directory {directory}: {error.strerror}") from error


def run(settings: Settings, listener: socket.socket) -> None:
    """Serve on the socket until a signal says stop.

    :raises Problem: if the application cannot start for a reason the user can mend.
    """
    os.umask(0o077)  # what agents remember is the owner's alone to read
    # Imported late so that a wrong option or a taken port is told at once, before the server's own weight is loaded.
    from tertulia.app import create_app  # noqa: PLC0415

    try:
        application = create_app(settings)
    except TertuliaError as error:
        raise Problem(str(error)) from error
    app = StartupWatch(application)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=settings.log_level == "debug",
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=settings.shutdown_grace + _LAST_WORDS,
    )
    url = _url(settings.host, listener)

    def on_ready() -> None:
        click.echo(f"Tertulia {__version__} is ready at {url}")
        gc.freeze()
        gc.enable()

    async def on_stop() -> None:
        grace = settings.shutdown_grace
        if application.active_runs:
            click.echo(f"Stopping. Replies get {grace:g} s to end; Ctrl-C again stops at once.", err=True)
        await application.drain(grace)

    server = _Server(config, on_ready, on_stop)
    try:
        server.run(sockets=[listener])
    except SystemExit as stop:  # how uvicorn reports a failed start
        if app.failure is None:
            raise
        raise Problem(str(app.failure)) from stop


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Uvicorn's server that says when it is ready, and for which a signal is a normal way to end."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # The replies end while the inherited method waits for their readers, whom it would cut off afterwards.
        ending = asyncio.create_task(self._on_stop())
        await super().shutdown(sockets)
        if self.force_exit:
            ending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ending

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # The inherited method raises the signal again after a graceful stop, which would end in a traceback or -15.
        loop = asyncio.get_running_loop()
        stops = (signal.SIGINT, signal.SIGTERM)
        for stop in stops:
            loop.add_signal_handler(stop, self.handle_exit, stop, None)
        try:
            yield
        finally:
            for stop in stops:
                loop.remove_signal_handler(stop)


class StartupWatch:
    """An ASGI wrapper that keeps a start-up failure the user can mend, so it is told as a sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: TertuliaError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failures: list[Message] = []

        async def hold_failure(message: Message) -> None:
            # It carries a traceback as text; whether that is to be shown depends on the exception that follows.
            if message["type"] == "lifespan.startup.failed":
                failures.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except TertuliaError as error:
            self.failure = error
            failures = [{"type": "lifespan.startup.failed", "message": ""}]
        finally:
            for message in failures:
                await send(message)
