"""`tertulia serve`: from the checked settings to the graceful stop, in this process or in workers of it."""

import asyncio
import contextlib
import errno
import gc
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any, Final, cast

import click
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tertulia import __version__
from tertulia.cli.configured import load_settings, server_options
from tertulia.cli.logs import configure_logs
from tertulia.cli.parent import Parent
from tertulia.cli.problems import Problem
from tertulia.cli.streams import tell
from tertulia.cli.supervisor import Supervisor, stop_signals
from tertulia.domain.errors import DataDirectoryHeld, StoreUnavailable, TertuliaError
from tertulia.settings import EMBEDDED_PG, Settings, unknown_variables
from tertulia.store.postgres import embedded as embedded_pg

_BACKLOG: Final = 2048
_GC_THRESHOLDS: Final = (10_000, 10, 50)
"""Little here is garbage in cycles, and a look at everything stops a thousand streams for a third of a second."""
_MORE_LISTENERS: Final = 7
"""The event loop takes one connection a round from each listening socket; under load that is not to be one in all."""
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread waits for the interpreter's lock. The database's thread asks for it at every statement, so with the
default of 5 ms a busy event loop holds up every message by a tenth of a second."""
_TIDYING: Final = 5
"""Seconds that a worker gets for everything else there is to do when it stops."""
_LAST_WORDS: Final = 3
"""Seconds that readers get to be told of the end of replies that were cut off."""

log = structlog.get_logger(__name__)


@click.command()
@server_options
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Number of worker processes; more than 1 requires PostgreSQL.  [TERTULIA_WORKERS; default: 1]",
)
def serve(**options: Any) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM)."""
    # What is made while starting stays, so looking for garbage in it is a seventh of the start, for nothing.
    gc.disable()
    settings = load_settings(options)
    configure_logs(settings.log_level, settings.log_format)
    parent = Parent.of_this_process()
    if parent is not None:
        _work(settings, parent)
        return
    for name in unknown_variables():
        log.warning("unknown setting", variable=name, hint="there is no such setting; see `tertulia doctor`")
    with listening_socket(settings.host, settings.port) as listener:
        make_data_dir(settings)
        if settings.workers > 1:
            _supervise(settings, listener)
        else:
            run(settings, listener)


def _work(settings: Settings, parent: Parent) -> None:
    """Be one of several: the supervisor speaks to the user."""
    try:
        with parent.listener as listener:
            run(settings, listener, parent)
    except Problem as problem:
        parent.tell_failure(problem.message)
        sys.exit(Problem.exit_code)


def _supervise(settings: Settings, listener: socket.socket) -> None:
    gc.enable()
    os.umask(0o077)

    def on_ready() -> None:
        tell(_ready_line(settings, listener, f" with {settings.workers} workers"))

    async def supervise() -> None:
        patience = settings.shutdown_delay + settings.shutdown_grace + _LAST_WORDS + _TIDYING
        await Supervisor(listener, settings.workers, patience, on_ready).run()

    with _embedded_database(settings):
        asyncio.run(supervise())


@contextlib.contextmanager
def _embedded_database(settings: Settings) -> Generator[None]:
    """Keep a database of our own running, from before the first worker until after the last.

    :raises Problem: if it does not start.
    """
    if settings.db != EMBEDDED_PG:
        yield
        return
    try:
        server = embedded_pg.start(settings.embedded_directory)
    except TertuliaError as error:
        raise Problem(in_words(settings, error)) from error
    with contextlib.closing(server):
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address, an IPv4 one when the name has both.

    :raises Problem: if the address is taken, not allowed, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise Problem(_why_not_listening(host, port, error)) from error


def _why_not_listening(host: str, port: int, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return f"'{host}' is not a host name. Use 127.0.0.1, or an address of this machine."
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program. Stop it, "
            "or choose another port with --port (0 takes any free one)."
        )
    if error.errno == errno.EACCES:
        return f"port {port} can only be used by the administrator. Choose one above 1023."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"'{host}' is not an address of this machine. Use 127.0.0.1, or one that is."
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def make_data_dir(settings: Settings) -> None:
    """The directories for the data, readable by their owner alone. With a PostgreSQL elsewhere none is needed.

    :raises Problem: if they cannot be made.
    """
    if settings.postgres_url is not None:
        return
    database = settings.database_path
    for directory in (settings.data_dir, *([database.parent] if database else [])):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            named = "TERTULIA_DATA_DIR" if directory == settings.data_dir else "TERTULIA_DB"
            reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise Problem(
                f"cannot create the data directory {directory}: {reason}. Set {named} to another place."
            ) from error


def in_words(settings: Settings, error: TertuliaError) -> str:
    """Why the server cannot start, with the variable that says what it could not use."""
    if not isinstance(error, StoreUnavailable | DataDirectoryHeld):
        return str(error)
    said = str(error).rstrip(".")
    if settings.db is not None and settings.db != EMBEDDED_PG:
        return f"{said}. It is named by TERTULIA_DB (--db)."
    return f"{said}. Set TERTULIA_DATA_DIR (--data-dir) to another place."


def run(settings: Settings, listener: socket.socket, parent: Parent | None = None) -> None:
    """Serve on the socket until a signal says stop, or the parent has died.

    :raises Problem: if the application cannot start for a reason the user can mend.
    """
    os.umask(0o077)  # what agents remember is the owner's alone to read
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Imported late so that a wrong option or a taken port is told at once, before the server's own weight is loaded.
    from tertulia.app import create_app  # noqa: PLC0415
    from tertulia.cli.listening import connections, house_of  # noqa: PLC0415
    from tertulia.store.sqlite.store import migrate_apart  # noqa: PLC0415

    if settings.database_path is not None:
        migrate_apart(settings.database_path)
    house = house_of(settings)
    try:
        application = create_app(
            settings,
            worker=parent.place if parent else 0,
            life=parent.life if parent else "",
            connections=lambda: house.count,
        )
    except TertuliaError as error:
        raise Problem(in_words(settings, error)) from error
    app = StartupWatch(application)
    config = _configuration(settings, app, connections(house))
    ready = _ready_line(settings, listener)

    def on_ready() -> None:
        if parent is None:
            tell(ready)
        else:
            parent.tell_ready()
            parent.listen(when_gone=server.stop, when_dead=application.mourn)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.enable()

    async def on_stop() -> None:
        grace = settings.shutdown_grace
        if application.active_runs and parent is None:
            tell(f"Stopping. Replies get {grace:g} s to finish; press Ctrl-C again to stop at once.", error=True)
        await application.drain(grace)

    server = _Server(config, on_ready, on_stop, application.retire, settings.shutdown_delay)
    try:
        server.run(sockets=[listener, *(listener.dup() for _ in range(_MORE_LISTENERS))])
    except SystemExit as stop:  # how uvicorn reports a failed start
        if app.failure is None:
            raise
        raise Problem(in_words(settings, app.failure)) from stop


def _configuration(settings: Settings, app: ASGIApp, connections: Callable[..., asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", connections),  # uvicorn only calls it
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=settings.log_level == "debug",
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=settings.shutdown_grace + _LAST_WORDS,
    )


def _ready_line(settings: Settings, listener: socket.socket, how: str = "") -> str:
    host, port = settings.host, listener.getsockname()[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"Tertulia {__version__} is ready at {url}{how}"


class _Server(uvicorn.Server):
    """Uvicorn's server that says when it is ready, and for which a signal is a normal way to end.

    When it is told to stop it retires, and takes requests for ``delay`` seconds more.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_stop: Callable[[], Coroutine[Any, Any, None]],
        retire: Callable[[], None],
        delay: float,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._retire = retire
        self._delay = delay
        self._hurried = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:
            self._hurried.set()

    def stop(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay):
                await self._hurried.wait()
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
        stops = stop_signals()
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
