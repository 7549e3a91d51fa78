"""The command of the demo; what it runs is loaded only when it is asked for."""

import sys

import click

from tertulia.cli.problems import Problem


@click.command()
@click.option("--plain", is_flag=True, help="Print one line per token instead of two growing columns.")
def demo(*, plain: bool) -> None:
    """Watch one agent answer in two conversations at once, on the embedded model.

    Starts its own server on a free port with a temporary data directory, and stops it at the end. Exits with 0
    only if both conversations answered at the same time, knew the agent's memory and nothing of each other.
    """
    try:
        # The SDK and the display are the extra `demo`; the server itself needs neither.
        from tertulia.cli.demo.play import play  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tertulia"):
            raise
        missing = f"the demo needs tertulia's extras demo and local; {error.name} is not installed"
        raise Problem(missing) from error
    sys.exit(play(plain=plain))
