"""`python -m bench`: starts the fake endpoint and the server, runs the scenarios, prints the result as JSON."""

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import structlog

from bench import compare, machine, profiler, targets
from bench.api import RequestFailed
from bench.eventloop import run
from bench.processes import Child, StartFailed, end_of, fake_endpoint, server, server_log
from bench.profiler import ProfilerMissing
from bench.result import SCENARIOS, Result
from bench.scenarios import burst, dialects, history, messages, prompt_cache, startup, throughput, tokens
from bench.subject import FULL, QUICK, Effort, Subject

RESULTS = Path(__file__).resolve().parent / "results"
PROFILED_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    label: str
    effort: Effort
    quick: bool
    only: Sequence[str]
    tertulia: Path
    postgres: bool
    workers: int
    save: bool
    check: bool
    compare: Path | None
    profile: Path | None
    profile_streaming: bool
    profile_senders: int

    @property
    def serve(self) -> Sequence[str]:
        """Options of `tertulia serve`."""
        workers = ["--workers", str(self.workers)] if self.workers > 1 else []
        return ["--db", "embedded-pg", *workers] if self.postgres else workers


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # Some scenarios run the engine in this process; standard output is for the result.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    result = _run(options)
    if options.profile and options.profile.suffix == ".txt" and not result.failures:
        _say(profiler.summary(options.profile.read_text()))
    met = targets.check(result)
    document = {**dataclasses.asdict(result), "targets": [dataclasses.asdict(target) for target in met]}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    print(text)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        saved = RESULTS / f"{result.date[:10]}-{options.label}.json"
        _ = saved.write_text(text + "\n")
        _say(f"saved as {saved.name}")
    if options.compare:
        _say(compare.table(compare.load(options.compare), document))
    _say(targets.table(met))
    return 1 if options.check and (result.failures or any(target.met is False for target in met)) else 0


def _run(options: Options) -> Result:
    result = Result(
        label=options.label,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        effort="quick" if options.quick else "full",
        machine=machine.describe(),
    )
    result.busyness.read()
    with fake_endpoint() as endpoint:
        if "startup" in options.only:
            with _scenario("startup", result):
                result.startup = startup.measure(options.tertulia, endpoint.port, options.effort.starts)
        if "dialects" in options.only:
            with _scenario("dialects", result):
                result.dialects = run(dialects.measure(endpoint, options.effort.token_rounds))
        if "prompt_cache" in options.only:
            with _scenario("prompt_cache", result):
                result.prompt_cache = run(prompt_cache.measure())
        if options.profile or {"messages", "tokens", "throughput", "burst"} & {*options.only}:
            _run_short_conversations(options, endpoint, result)
        if "history" in options.only:
            _run_history(options, endpoint, result)
    result.busyness.read()
    return result


def _run_short_conversations(options: Options, endpoint: Child, result: Result) -> None:
    with (
        _folder() as folder,
        _scenario("server", result, server_log(folder)),
        server(options.tertulia, folder, endpoint.port, options.serve) as child,
    ):
        result.memory.idle = child.memory()
        run(_measure(options, Subject(child, endpoint, options.effort), result, server_log(folder)))
        result.memory.after_load = child.memory()


async def _measure(options: Options, subject: Subject, result: Result, log: Path) -> None:
    levels = options.effort.levels
    if "messages" in options.only:
        with _scenario("messages", result, log):
            result.blocking = await messages.measure(subject, streaming=False)
            result.memory.after_first_messages = subject.server.memory()
            result.streaming = await messages.measure(subject, streaming=True)
    if "tokens" in options.only:
        with _scenario("tokens", result, log):
            result.tokens = await tokens.measure(subject)
    if "throughput" in options.only:
        with _scenario("throughput", result, log):
            ids = await throughput.conversations(subject)
            for senders, streaming in [*((level, False) for level in levels), (targets.LEVEL, True)]:
                result.throughput.append(await throughput.measure(subject, ids, senders, streaming=streaming))
    if "burst" in options.only:
        with _scenario("burst", result, log):
            result.burst = await burst.measure(subject)
    if options.profile:
        with _scenario("profile", result, log):
            await _profile(options, subject, options.profile)


async def _profile(options: Options, subject: Subject, output: Path) -> None:
    ids = await throughput.conversations(subject)
    senders, streaming = options.profile_senders, options.profile_streaming
    # Warm-up: what is loaded on first use would fill the profile.
    _ = await throughput.load(subject, ids, senders, 1.0, streaming=streaming)
    with profiler.recording(subject.server.pid, output):
        _ = await throughput.load(subject, ids, senders, PROFILED_SECONDS, streaming=streaming)


def _run_history(options: Options, endpoint: Child, result: Result) -> None:
    with _folder() as folder, _scenario("history", result, server_log(folder)):
        with server(options.tertulia, folder, endpoint.port, options.serve) as child:
            written = run(history.write(Subject(child, endpoint, options.effort)))
        if options.postgres:
            run(history.put_out_of_context_on_postgres(folder, written))
        else:
            history.put_out_of_context(history.database(folder), written)
        with server(options.tertulia, folder, endpoint.port, options.serve) as child:
            result.history = run(history.measure(Subject(child, endpoint, options.effort), written))
            result.memory.after_history = child.memory()


@contextmanager
def _folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="tertulia-bench-") as name:
        # A PostgreSQL that is started by root runs as another user, who has to get to its files.
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def _scenario(name: str, result: Result, log: Path | None = None) -> Generator[None]:
    """Say what runs, and turn its failure into a line of the result: the other scenarios are still worth running."""
    started = time.perf_counter()
    try:
        yield
    except (RequestFailed, StartFailed, ProfilerMissing, OSError) as error:
        result.failures[name] = f"{type(error).__name__}: {error}" + (f"\n{end_of(log, 20)}" if log else "")
        _say(f"{name} FAILED: {result.failures[name]}")
    else:
        _say(f"{name}: {time.perf_counter() - started:.1f} s")


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    _ = add("--quick", action="store_true", help="fewer samples: about one minute instead of four")
    _ = add("--only", action="append", choices=SCENARIOS, metavar="SCENARIO", help=f"one of {', '.join(SCENARIOS)}")
    _ = add("--label", default="run", help="a name for the result (and for the file of --save)")
    _ = add("--postgres", action="store_true", help="the server on a PostgreSQL of its own instead of SQLite")
    _ = add("--workers", type=int, default=1, metavar="N", help="worker processes of the server (1)")
    _ = add("--save", action="store_true", help="save the result in bench/results/<date>-<label>.json")
    _ = add("--compare", type=Path, metavar="FILE", help="print what changed against a saved result")
    _ = add("--check", action="store_true", help="exit with 1 if a target is missed")
    _ = add("--profile", type=Path, metavar="OUT", help="run py-spy under load; OUT ends in .svg, .json or .txt")
    _ = add("--profile-streaming", action="store_true", help="the profiled load is streamed instead of blocking")
    _ = add("--profile-senders", type=int, default=64, metavar="N", help="conversations that send at once (64)")
    _ = add(
        "--tertulia",
        type=Path,
        default=Path(sys.executable).parent / "tertulia",
        help="the server's command (default: the one beside this Python)",
    )
    found = parser.parse_args(arguments)
    quick = cast("bool", found.quick)
    profile = cast("Path | None", found.profile)
    only = cast("list[str] | None", found.only)
    return Options(
        label=cast("str", found.label),
        effort=QUICK if quick else FULL,
        quick=quick,
        only=only or ([] if profile else SCENARIOS),
        tertulia=cast("Path", found.tertulia),
        postgres=cast("bool", found.postgres),
        workers=cast("int", found.workers),
        save=cast("bool", found.save),
        check=cast("bool", found.check),
        compare=cast("Path | None", found.compare),
        profile=profile,
        profile_streaming=cast("bool", found.profile_streaming),
        profile_senders=cast("int", found.profile_senders),
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
