"""A loaded model: llama.cpp inside this process, answering several requests at once. Knows no messages and no tools.

The library is a server made for the network. It always opens a socket; we let it be a socket file in a directory of our
own, and remove the file as soon as it is there, so nothing can be reached. What it can do is called directly instead
(docs/decisions/local-model.md).
"""

import asyncio
import os
import secrets
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import structlog

from tertulia.providers.local.admission import Admission
from tertulia.providers.local.prompt_prefix import OpeningFailed, copy_opening, ignored

SLOTS: Final = 4
"""Requests decoded side by side. On one thread they share its speed; more wait their turn, first come first served."""

_BATCH: Final = 64
"""Tokens of a prompt read in one go (0.4 s on one thread): how long other replies pause, and a cancel may take."""

_log = structlog.get_logger()

_SILENT: Final = -1
_SHORTEST_REQUEST: Final = b'{"prompt": " ", "max_tokens": 1}'
_CONTEXT_PER_OPENING: Final = 1024  # tokens; with fewer for each slot, copies would crowd out what is asked
_PROMPT_CACHE_MIB: Final = 0  # conversations at rest are not kept in memory beside the slots


class LoadFailed(Exception):
    """The runtime could not load the weights. It does not say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """``context`` is tokens, for all requests together and for each alone.

    ``opening`` is the body of a request whose prompt begins all others; its reply is thrown away.
    """

    path: Path
    context: int
    threads: int
    opening: bytes | None = None


class Refused(Exception):
    """The runtime cannot make sense of the request. The message says why."""


class Broken(Exception):
    """The runtime failed at a request that it had taken."""


class Unloaded(Exception):
    """The model was closed while the request waited for its turn."""


class LoadedModel:
    """One model in memory. Made and closed in threads, because both take a while."""

    def __init__(self, options: LoadOptions) -> None:
        """Load the model.

        :raises LoadFailed: if the file is damaged, of an unknown kind, or there is too little memory.
        :raises ImportError: if the runtime is not installed.
        """
        begun = time.monotonic()
        self._server: Any = _start(options)
        self.seconds_to_load = time.monotonic() - begun
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="local-model")
        self._admission = Admission(SLOTS, options.context)
        self._active: set[_Exchange] = set()
        self._closed = False

    async def chat(self, body: bytes, tokens: int) -> AsyncGenerator[bytes, None]:
        """The chunks of the reply as they come, JSON objects of the chat dialect; an error is a chunk too.

        ``tokens`` is the most that prompt and reply can come to. Closing the generator stops the model at its next
        token, or at the next piece of a prompt it is still reading; its place is free when it has stopped.
        :raises Refused: if the request cannot be made sense of.
        :raises Broken: if the runtime fails.
        :raises Unloaded: if the model is closed before its turn comes.
        """
        taken = await self._admission.take(tokens)
        if self._closed:
            raise Unloaded
        exchange = _Exchange(asyncio.get_running_loop(), lambda: self._admission.give_back(taken))
        self._active.add(exchange)
        future = self._threads.submit(exchange.run, self._server, body)
        future.add_done_callback(exchange.over)
        try:
            async for chunk in exchange.chunks():
                yield chunk
            _raise_failure(future)
        finally:
            exchange.stopped.set()
            self._active.discard(exchange)

    def close(self) -> None:
        """Stop what is running, wait until it has stopped, and give the memory back."""
        self._closed = True
        for exchange in tuple(self._active):
            exchange.stopped.set()
        self._threads.shutdown(cancel_futures=True)
        self._server = None


def _raise_failure(future: "Future[None]") -> None:
    try:
        future.result()
    except ValueError as error:
        raise Refused(str(error)) from error
    except RuntimeError as error:
        raise Broken(str(error)) from error


class _Exchange:
    """One request on its thread, and the loop that waits for its chunks.

    The thread wakes the loop once for all chunks that come before the loop gets to look.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
        self.stopped = threading.Event()
        self._loop = loop
        self._on_end = on_end
        self._arrived: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._woken = False
        self._over = False

    def run(self, server: Any, body: bytes) -> None:
        if not self.stopped.is_set():
            server.handle_chat_completions(body, self._take)

    def over(self, _future: "Future[None]") -> None:
        """The thread has let go of the model, or never got hold of it."""
        self._call_loop(self._end)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._woken = False  # before looking, so that what comes while we look wakes us again
            over = self._over
            while self._arrived:
                yield self._arrived.popleft()
            if over:
                return

    def _end(self) -> None:
        self._over = True
        self._wake.set()
        self._on_end()

    def _take(self, chunk: bytes) -> bool:
        """Called by the runtime, on the request's thread. True stops the model."""
        if not self.stopped.is_set():
            self._arrived.append(chunk)
            if not self._woken:
                self._woken = True
                self._call_loop(self._wake.set)
        return self.stopped.is_set()

    def _call_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.stopped.set()


def _start(options: LoadOptions) -> Any:
    # Imported here: it is an optional extra, and 100 MB of shared library that only this model needs.
    runtime = import_module("xllamacpp")
    with tempfile.TemporaryDirectory(prefix="tertulia-") as directory:  # readable by us alone
        params = _params(runtime, options)
        # For the socket nobody will find: a key nobody knows, one thread, and nothing to see.
        key = secrets.token_hex(32)
        params.api_keys = [key]
        params.n_threads_http = 1
        params.endpoint_slots = params.endpoint_metrics = params.endpoint_props = params.ui = False
        params.slot_save_path = directory + os.sep
        if hasattr(socket, "AF_UNIX"):
            params.hostnames = [os.fspath(Path(directory, "s.sock"))]  # a name ending so makes it a socket file
        try:
            server = runtime.Server(params)
        except RuntimeError as error:
            raise LoadFailed(str(error)) from error
        # One answered request: the runtime hangs for ever if it is let go of before its loop has begun to turn.
        server.handle_completions(_SHORTEST_REQUEST, ignored)
        if options.opening is not None:
            _open(server, options, options.opening, key)
        return server


def _open(server: Any, options: LoadOptions, opening: bytes, key: str) -> None:
    try:
        copy_opening(server, opening, min(SLOTS, max(1, options.context // _CONTEXT_PER_OPENING)), key)
    except OpeningFailed as error:
        _log.warning("local_model.opening_not_copied", error=str(error))


def _params(runtime: Any, options: LoadOptions) -> Any:
    params = runtime.CommonParams()
    params.model.path = os.fspath(options.path)
    params.n_ctx = options.context
    params.n_parallel = SLOTS
    params.kv_unified = True  # one pool of tokens for all slots: each may use what the others do not
    params.cache_type_k = params.cache_type_v = runtime.ggml_type.GGML_TYPE_Q8_0  # half the memory at the same speed
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.warmup = False  # a first request does it as well
    params.fit_params = False  # what fits is said above; finding out would double the time to load
    params.verbosity = _SILENT
    return params
