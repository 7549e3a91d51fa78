"""The settings as a command sees them: its options first, then the environment and `.env`."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from tertulia.cli.problems import Problem
from tertulia.setting_checks import ENV_FILE, check_env_file
from tertulia.settings import PROVIDER_VARIABLES, Settings, field_of, variable_in_use

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--host", metavar="ADDRESS", help="Address to listen on.  [TERTULIA_HOST; default: 127.0.0.1]"),
    click.option(
        "--port",
        type=int,
        metavar="PORT",
        help="Port to listen on; 0 picks a free one.  [TERTULIA_PORT; default: 8283]",
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where the server keeps its data.  [TERTULIA_DATA_DIR; default: ~/.tertulia]",
    ),
    click.option(
        "--db",
        metavar="URL",
        help="sqlite:///…, postgresql://… or embedded-pg.  [TERTULIA_DB; default: tertulia.db in the data directory]",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="[TERTULIA_LOG_LEVEL; default: info]",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["auto", "console", "json"]),
        help="auto: console on a terminal, else JSON.  [TERTULIA_LOG_FORMAT; default: auto]",
    ),
)


def server_options(command: _Command) -> _Command:
    """The options of a command that is about a server, each also a setting."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_settings(options: dict[str, Any]) -> Settings:
    """The settings, with the options that were given.

    :raises Problem: naming each variable or option that is wrong, and why.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        check_env_file()
    except ValueError as error:
        raise Problem(f"the settings cannot be used:\n  {Path(ENV_FILE).absolute()}: {error}") from error
    try:
        return Settings(**given)
    except ValidationError as error:
        raise Problem(
            "\n  ".join(
                [
                    "the settings cannot be used:",
                    *(_complaint(detail["loc"], detail["msg"], given) for detail in error.errors()),
                ]
            )
        ) from error
    except (SettingsError, RecursionError) as error:
        broken = re.search(r'field "(\w+)"', str(error))
        variable = variable_in_use(broken.group(1) if broken else "endpoints")
        raise Problem(f"the settings cannot be used:\n  {variable}: the value is not valid JSON") from error


def _complaint(location: tuple[int | str, ...], message: str, options: Collection[str]) -> str:
    """What is wrong with which option or variable. A field of several names is located by the first of them."""
    reason = message.removeprefix("Value error, ")
    if not location:
        return reason
    name, *inner = (str(part) for part in location)
    if name == PROVIDER_VARIABLES:
        return reason  # it names the variables itself
    field_name = field_of(name) or name
    said = f"--{field_name.replace('_', '-')}" if field_name in options else variable_in_use(field_name)
    return f"{'.'.join([said, *inner])}: {reason}"
