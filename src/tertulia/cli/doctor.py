"""`tertulia doctor`: what is configured, what can be reached, what is missing."""

import platform
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import click

from tertulia import __version__
from tertulia.cli.check_endpoints import check_endpoints
from tertulia.cli.check_local import check_local
from tertulia.cli.check_server import check_server
from tertulia.cli.check_stored import check_stored
from tertulia.cli.check_tools import check_tools
from tertulia.cli.configured import load_settings, server_options
from tertulia.cli.findings import Finding, Verdict
from tertulia.cli.logs import configure_logs

_MARKS: Final[dict[Verdict, tuple[str, str]]] = {
    "ok": ("ok", "green"),
    "off": ("-", "bright_black"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
}


@click.command()
@server_options
def doctor(**options: Any) -> None:
    """Report what is configured, reachable and missing; exit with code 1 if something is broken."""
    settings = load_settings(options)
    configure_logs("error", "console")  # the checks tell by themselves what the server would log
    click.echo(f"Tertulia {__version__} on Python {platform.python_version()}, {platform.platform()}")
    server = check_server(settings)
    _report("Server", server)
    stored = check_stored(settings)
    local = check_local(settings, {finding.subject for finding in stored if finding.verdict == "ok"})
    _report("Models inside the server", local)
    tools = check_tools(settings)
    _report("Tools that users write", tools)
    endpoints = check_endpoints(settings)
    _report("Model servers", endpoints)
    if stored:
        _report("Stored providers", stored)
    verdicts = Counter(finding.verdict for finding in (*server, *local, *tools, *endpoints, *stored))
    if broken := verdicts["fail"]:
        click.echo(f"\n{broken} {'thing is' if broken == 1 else 'things are'} broken.")
        sys.exit(1)
    odd = verdicts["warn"]
    state = f"{odd} {'thing' if odd == 1 else 'things'} to look at." if odd else "All good."
    click.echo(f"\n{state} Start with: tertulia serve")


def _report(heading: str, findings: Iterable[Finding]) -> None:
    click.echo(f"\n{heading}")
    for finding in findings:
        mark, colour = _MARKS[finding.verdict]
        click.echo(f"  {click.style(f'{mark:<4}', fg=colour)}  {finding.subject:<17} {finding.text}")
