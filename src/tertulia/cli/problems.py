"""Failures the user can mend, told in one sentence on standard error."""

import click


class Problem(click.ClickException):
    """Ends the command with exit code 2 and ``Error: <sentence>``, without a traceback."""

    exit_code = 2
