"""What a server holds, by its own figures."""

import http.client
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

HELD = {
    "process_open_fds": "open files",
    "tertulia_threads": "threads",
    "tertulia_tasks": "tasks",
    "tertulia_http_connections_open": "connections",
    "tertulia_http_requests_open": "requests",
    "tertulia_runs_active": "runs",
    "tertulia_pool_in_use": "connections to the database in use",
}
"""Figures that are to be back where they were when nothing is asked of the server, and what they count."""
_POOLED = (os.cpu_count() or 1) + 4 + 2
"""Threads of the event loop's pool and of the store's, which are begun when they are first needed, and then stay."""
_SAMPLE = re.compile(r'^(\w+)\{worker="\d+"\} (\S+)$', re.MULTILINE)
_PATIENCE_S = 10.0
_POLL_S = 0.1


def figures(url: str) -> Mapping[str, float]:
    """All that have no labels, asked for on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", "/metrics", headers={"connection": "close"})
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def resident_mb(url: str) -> float:
    return round(figures(url)["process_resident_memory_bytes"] / 1e6, 2)


def held(url: str) -> Mapping[str, float]:
    found = figures(url)
    return {name: found[name] for name in HELD}


def steady(url: str) -> Mapping[str, float]:
    """What is held when nothing changes any more: what clients left behind is let go of."""
    return _watched(url, lambda now, last: now == last)


def more_than(url: str, before: Mapping[str, float]) -> tuple[Mapping[str, float], Sequence[str]]:
    """What is held once it is no more than before, or after a while; and a line for each thing that is more."""
    # A pool opens connections when more are needed at once than ever before, and keeps them.
    later = {"tertulia_threads": _POOLED, "process_open_fds": figures(url)["tertulia_pool_size"]}
    most = {name: before[name] + later.get(name, 0) for name in HELD}
    now = _watched(url, lambda now, _: all(now[name] <= most[name] for name in HELD))
    return now, [f"{now[name]:g} {what}, not {before[name]:g}" for name, what in HELD.items() if now[name] > most[name]]


def _watched(url: str, is_enough: Callable[[Mapping[str, float], Mapping[str, float]], bool]) -> Mapping[str, float]:
    deadline = time.monotonic() + _PATIENCE_S
    last: Mapping[str, float] = {}
    while True:
        now = held(url)
        if is_enough(now, last) or time.monotonic() > deadline:
            return now
        last = now
        time.sleep(_POLL_S)
