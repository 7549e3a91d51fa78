"""Checks of what the server itself needs: its settings, address, data directory and database."""

import http.client
import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Final

from tertulia.cli.findings import Finding
from tertulia.settings import ENV_FILE, Settings, is_loopback, unknown_variables

_TIMEOUT: Final = 2.0
_LITTLE_SPACE: Final = 100 * 1024 * 1024


def check_server(settings: Settings) -> list[Finding]:
    return [
        _env_file(),
        *_misspelt(),
        _access(settings),
        _listener(settings),
        _data_dir(settings.data_dir),
        *_databases(settings),
    ]


def _databases(settings: Settings) -> list[Finding]:
    path = settings.database_path
    if path is not None:
        return [_database(path), _full_text_search()]
    # asyncpg and SQLAlchemy are not needed for anything else here.
    from tertulia.cli.check_postgres import check_embedded, check_postgres  # noqa: PLC0415

    url = settings.postgres_url
    return [check_embedded(settings.embedded_directory) if url is None else check_postgres(url, settings.db_pool_size)]


def _env_file() -> Finding:
    path = Path(ENV_FILE).absolute()
    if not path.exists():
        return Finding("off", ENV_FILE, f"no {path}; only the environment is read")
    if not os.access(path, os.R_OK):
        return Finding("fail", ENV_FILE, f"{path} cannot be read; check its permissions")
    return Finding("ok", ENV_FILE, f"read from {path}")


def _misspelt() -> list[Finding]:
    return [Finding("warn", name, "no such setting; nothing reads it") for name in unknown_variables()]


def _access(settings: Settings) -> Finding:
    reach = "only this machine can connect" if is_loopback(settings.host) else "other machines can connect"
    key = "a key is required" if settings.api_key else "no key is required (TERTULIA_API_KEY sets one)"
    return Finding("ok", "access", f"{reach}; {key}")


def _listener(settings: Settings) -> Finding:
    """Whether a server could start on the address, or which one runs there already."""
    address = f"{settings.host}:{settings.port}"
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/v1/health/")
        body: Any = json.loads(connection.getresponse().read())
        running = isinstance(body, dict) and "version" in body
    except ConnectionRefusedError:
        return Finding("ok", "address", f"{address} is free")
    except (OSError, http.client.HTTPException, ValueError):
        running = False
    finally:
        connection.close()
    if running:
        return Finding("ok", "address", f"a server answers at {address}")
    return Finding("warn", "address", f"{address} is used by another program; TERTULIA_PORT chooses another port")


def _data_dir(directory: Path) -> Finding:
    subject = "data directory"
    if directory.exists() and not directory.is_dir():
        return Finding("fail", subject, f"{directory} is a file; TERTULIA_DATA_DIR chooses another place")
    standing = next(path for path in (directory, *directory.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=standing):
            free = shutil.disk_usage(standing).free
    except OSError as error:
        return Finding("fail", subject, f"cannot write to {standing}: {error.strerror}")
    state = "writable" if standing == directory else "will be made at the first start"
    verdict = "ok" if free > _LITTLE_SPACE else "warn"
    return Finding(verdict, subject, f"{directory}, {state}, {_megabytes(free)} free")


def _database(path: Path) -> Finding:
    subject = "database"
    if not path.exists():
        return Finding("ok", subject, f"{path}, will be made at the first start")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT)
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding("fail", subject, f"{path} cannot be read as a SQLite database: {error}")
    return Finding("ok", subject, f"{path}, {tables} tables, {_megabytes(path.stat().st_size)}")


def _full_text_search() -> Finding:
    subject = "SQLite"
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
    except sqlite3.OperationalError:
        return Finding("fail", subject, f"{sqlite3.sqlite_version} lacks FTS5; use a Python built with it")
    finally:
        connection.close()
    return Finding("ok", subject, f"{sqlite3.sqlite_version} with full text search")


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.1f} MB"
