"""`tertulia migrate`: bringing a database to this version's schema, and copying everything into another database."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click
import msgspec

from tertulia.cli.about_keys import about_keys
from tertulia.cli.configured import load_settings
from tertulia.cli.logs import configure_logs
from tertulia.cli.problems import Problem
from tertulia.cli.serve import make_data_dir
from tertulia.domain.errors import StoreUnavailable, TertuliaError
from tertulia.domain.providers import StoredProvider
from tertulia.settings import Settings
from tertulia.store.copy import postgres as copy_postgres
from tertulia.store.copy import sqlite as copy_sqlite
from tertulia.store.copy.copying import Checksum, Source, Target, copy
from tertulia.store.database import open_database
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.sql.tables import providers

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar  # click gives it no public name

_decode: Final = msgspec.json.Decoder(StoredProvider).decode

_SHOWN_DIGITS: Final = 16
"""Of a checksum."""

_DATA_DIR: Final = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the server keeps its data.  [TERTULIA_DATA_DIR; default: ~/.tertulia]",
)


@click.group()
def migrate() -> None:
    """Migrate a database to this version's schema, or copy it into another one."""


@migrate.command("up")
@_DATA_DIR
@click.option("--db", metavar="URL", help="[TERTULIA_DB; default: tertulia.db in the data directory]")
def up(**options: Any) -> None:
    """Migrate the database to this version's schema, as every server does when it starts."""
    settings = load_settings(options)
    _run(_bring_up(settings))


@migrate.command("copy")
@click.option("--from", "source", metavar="URL", required=True, help="sqlite:///…, postgresql://… or embedded-pg")
@click.option(
    "--to", "target", metavar="URL", required=True, help="Like --from; must be empty, or hold part of this copy."
)
@_DATA_DIR
def copy_all(source: str, target: str, data_dir: Path | None) -> None:
    """Copy everything from one database into an empty one, and verify it by counts and checksums.

    No server may be running on either. If interrupted, run the same command again to resume.
    """
    come_from = _settings_of("--from", source, data_dir)
    go_to = _settings_of("--to", target, data_dir)
    _run(_copy(come_from, go_to))


def _settings_of(option: str, url: str, data_dir: Path | None) -> Settings:
    try:
        return load_settings({"db": url, "data_dir": data_dir})
    except Problem as problem:
        raise Problem(problem.message.replace("--db", option)) from problem


def _run(command: Coroutine[Any, Any, None]) -> None:
    configure_logs("error", "console")
    try:
        asyncio.run(command)
    except TertuliaError as error:
        raise Problem(str(error)) from error


async def _bring_up(settings: Settings) -> None:
    os.umask(0o077)  # as the server does
    make_data_dir(settings)
    store = (await open_database(settings)).store
    seen = store.describe()
    await store.close()
    click.echo(f"{seen['location']} has the schema {seen['revision']}.")


async def _copy(come_from: Settings, go_to: Settings) -> None:
    os.umask(0o077)  # what agents remember is the owner's alone to read
    async with AsyncExitStack() as opened:
        source = await _source(come_from)
        opened.push_async_callback(source.close)
        target = await _target(go_to)
        opened.push_async_callback(target.close)
        try:
            with Bars() as bars:
                found = await copy(source, target, bars.tell)
        except StoreUnavailable as error:
            raise Problem(f"{error} Run the same command again to resume from here.") from error
        _report(source, target, found)
        for sentence in about_keys(await _stored_providers(source), come_from, go_to):
            click.echo(sentence)


async def _stored_providers(source: Source) -> list[StoredProvider]:
    body = list(providers.columns.keys()).index("body")
    async with aclosing(source.batches(providers)) as batches:
        return [_decode(row[body]) async for rows in batches for row in rows]


async def _source(settings: Settings) -> Source:
    if settings.database_path is not None:
        return copy_sqlite.open_source(settings.database_path)
    if settings.postgres_url is not None:
        return await copy_postgres.open_source(settings.postgres_url)
    server = await asyncio.to_thread(embedded_pg.start, settings.embedded_directory)
    return await copy_postgres.open_source(server.url, server)


async def _target(settings: Settings) -> Target:
    if settings.database_path is not None:
        make_data_dir(settings)
        return await copy_sqlite.open_target(settings.database_path)
    if settings.postgres_url is not None:
        return await copy_postgres.open_target(settings.postgres_url)
    make_data_dir(settings)
    server = await asyncio.to_thread(embedded_pg.start, settings.embedded_directory)
    return await copy_postgres.open_target(server.url, server)


class Bars:
    """A bar on standard error for each thing that is done; where that is no terminal, only what it is."""

    def __init__(self) -> None:
        self._what = ""
        self._bar: ProgressBar[int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def tell(self, what: str, done: int, total: int) -> None:
        if self._bar is None or what != self._what:
            self.__exit__()
            self._what = what
            self._bar = click.progressbar(length=total, label=what, file=sys.stderr)
            self._bar.render_progress()
        self._bar.update(done - self._bar.pos)


def _report(source: Source, target: Target, found: dict[str, Checksum]) -> None:
    for name, checksum in found.items():
        click.echo(f"{name:<24}{checksum.rows:>12,}  {checksum.digest[:_SHOWN_DIGITS]}")
    rows = sum(checksum.rows for checksum in found.values())
    click.echo(f"{rows:,} rows are in {target.place}, the same as in {source.place} by counts and checksums.")
