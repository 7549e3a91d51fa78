"""The command line: serve, demo, doctor, migrate, login and logout."""

from importlib import import_module
from typing import Final

import click

from tertulia import __version__
from tertulia.cli.streams import prepare_streams

# Each command's module, loaded when the command is used: a server that must be ready at once does not wait for the
# doctor's and the demo's imports.
_COMMANDS: Final = {
    "demo": "tertulia.cli.demo.command",
    "doctor": "tertulia.cli.doctor",
    "login": "tertulia.cli.login",
    "logout": "tertulia.cli.login",
    "migrate": "tertulia.cli.migrate",
    "serve": "tertulia.cli.serve",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tertulia", message="%(prog)s %(version)s")
def main() -> None:
    """A self-hosted server for stateful agents, compatible with the Letta V1 API.

    Settings are read from TERTULIA_… variables and from a .env file in the current directory; options override both.
    """


def run() -> None:
    """The program `tertulia`."""
    prepare_streams()
    main(prog_name="tertulia")
