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
from tertulia.cli.problems import Problem
from tertulia.cli.serve import listening_socket
from tertulia.setting_checks import ENV_FILE
from tertulia.settings import Settings, is_loopback, unknown_variables

_TIMEOUT: Final = 2.0
_LITTLE_SPACE: Final = 100 * 1024 * 1024


def check_server(settings: Settings) -> list[Finding]:
    return [
        _env_file(),
        *_misspelt(),
        _access(settings),
        _listener(settings),
        _data_dir(settings),
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
    return [Finding("warn", name, "there is no such setting") for name in unknown_variables()]


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
        if isinstance(body, dict) and "version" in body:
            return Finding("ok", "address", f"a server answers at {address}")
    except (OSError, UnicodeError, http.client.HTTPException, ValueError):
        pass  # there is no server; whether one could start is another question
    finally:
        connection.close()
    try:
        listening_socket(settings.host, settings.port).close()
    except Problem as problem:
        return Finding("warn" if "in use" in problem.message else "fail", "address", problem.message)
    return Finding("ok", "address", f"{address} is free")


def _data_dir(settings: Settings) -> Finding:
    subject, directory = "data directory", settings.data_dir
    if settings.postgres_url is not None:
        return Finding("off", subject, f"{directory} is not needed with an external PostgreSQL")
    if os.path.exists(directory) and not os.path.isdir(directory):  # noqa: PTH110, PTH112  they fail nowhere
        return Finding("fail", subject, f"{directory} is a file; set TERTULIA_DATA_DIR to another place")
    standing = next(path for path in (directory, *directory.parents) if os.path.isdir(path))  # noqa: PTH112  as above
    try:
        with tempfile.TemporaryFile(dir=standing):
            free = shutil.disk_usage(standing).free
    except OSError as error:
        return Finding(
            "fail", subject, f"cannot write to {standing}: {error.strerror}; TERTULIA_DATA_DIR chooses another"
        )
    state = "writable" if standing == directory else "will be created at the first start"
    verdict = "ok" if free > _LITTLE_SPACE else "warn"
    return Finding(verdict, subject, f"{directory}, {state}, {_megabytes(free)} free")


def _database(path: Path) -> Finding:
    subject = "database"
    if not os.path.lexists(path):
        return Finding("ok", subject, f"{path}, will be created at the first start")
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
