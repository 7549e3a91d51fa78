"""What a setting can be at all: a text, keys, the address of a database, the file `.env`. What cannot is said why."""

import base64
import re
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tertulia.domain.addresses import without_password

ENV_FILE: Final = ".env"
ENV_FILE_ENCODING: Final = "utf-8-sig"  # some editors begin a file of UTF-8 with a mark
# The driver may be named, as in the URLs of other Python programs.
POSTGRES_URL: Final = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?://(?=[^/]|/[^/])")

_LARGEST_ENV_FILE: Final = 1024 * 1024
_SERVER: Final = re.compile(r"(?:\[[^]]*\]|[^:]*)(?::(.*))?")
_PORTS: Final = 65_536
_KEY_BYTES: Final = 32


def check_text(text: str) -> None:
    """:raises ValueError: if it holds what no setting is made of, such as a NUL or bytes that are no text."""
    for place, character in enumerate(text, 1):
        if unicodedata.category(character) in {"Cc", "Cs"}:
            message = f"character {place} is {character!a}, which no setting can contain"
            raise ValueError(message)


def no_texts(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the variables that could be no setting at all."""
    complaints: list[str] = []
    for name, value in given.items():
        try:
            check_text(value)
        except ValueError as error:
            complaints.append(f"{name}: {error}")
    return complaints


def check_env_file() -> None:
    """:raises ValueError: if there is a `.env` that cannot be read as one, saying what it is instead."""
    path = Path(ENV_FILE)
    try:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            raise ValueError("it is a directory and not a file; remove it, or start the server from another directory")
        if stat.S_ISCHR(state.st_mode):
            return  # a link to /dev/null, which has nothing to say
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is a pipe or a socket and not a file; it is read more than once")
        if state.st_size > _LARGEST_ENV_FILE:
            message = f"it has {state.st_size:,} bytes, which is too large for a file of settings"
            raise ValueError(message)
        text = path.read_text(encoding=ENV_FILE_ENCODING)
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise ValueError(message) from error
    except OSError as error:
        message = f"it cannot be read ({error.strerror}); the server's user needs read permission"
        raise ValueError(message) from error
    if "\0" in text:
        message = f"line {text[: text.index(chr(0))].count(chr(10)) + 1} has a NUL character; save it as UTF-8"
        raise ValueError(message)


def check_database_url(url: str) -> None:
    """:raises ValueError: if the address of a database cannot be one."""
    try:
        check_text(unquote(url, errors="strict"))
        servers = urlsplit(url).netloc.rpartition("@")[2].split(",") if POSTGRES_URL.match(url) else []
    except ValueError as error:
        said = "it is not a URL in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        message = f"'{without_password(url)}' is not usable: {said}"
        raise ValueError(message) from error
    for server in servers:
        port = _SERVER.fullmatch(server)
        if port is None or (port[1] and not (port[1].isdecimal() and 0 < int(port[1]) < _PORTS)):
            message = f"'{without_password(url)}' is not usable: its port is not a number between 1 and 65535"
            raise ValueError(message)


def encryption_keys(text: str) -> tuple[str, ...]:
    """The keys, with commas between them, in one alphabet.

    :raises ValueError: saying which is none, and how to make one.
    """
    keys = [key.strip().replace("+", "-").replace("/", "_") for key in text.split(",") if key.strip()]
    for place, key in enumerate(keys, 1):
        try:
            size = len(base64.urlsafe_b64decode(key))
        except ValueError:
            size = 0
        if size != _KEY_BYTES:
            message = (
                f"key {place} of {len(keys)} is not {_KEY_BYTES} bytes in base64; "
                "generate one with: openssl rand -base64 32"
            )
            raise ValueError(message)
    return tuple(keys)
