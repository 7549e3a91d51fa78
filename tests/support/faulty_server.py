"""`tertulia serve` with what only tests have: tools whose effect is a line in a file, and points at which it dies.

``FAULT_FILE`` names a file that holds the point of ``ports/faults.py`` at which to die, if it is there. It is gone when
the point was reached, so that a process that is started again goes past it, unless it says ``always`` after the point.
``EFFECTS`` is the file the tools write to.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tertulia import app
from tertulia.cli import main
from tertulia.domain.tools import ToolOutcome, ToolSpec
from tertulia.ports.faults import Point
from tertulia.ports.tool import ToolContext
from tertulia.settings import Settings
from tertulia.telemetry.metrics import Metrics

_PARAMETERS = {"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]}


class AppendingTool:
    """Appends a line to a file, durably."""

    def __init__(self, name: str, *, idempotent: bool) -> None:
        self.spec = ToolSpec(
            id=f"tool-{name}",
            name=name,
            description="Append a line to the file.",
            parameters=_PARAMETERS,
            tool_type="letta_builtin",
            idempotent=idempotent,
        )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        self._append(f"{self.spec.name} {arguments['line']} {context.run_id}\n")
        return ToolOutcome(content="appended")

    def _append(self, line: str) -> None:
        with Path(os.environ["EFFECTS"]).open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


TOOLS = (AppendingTool("append_once", idempotent=False), AppendingTool("append_again", idempotent=True))


def die_at(point: Point) -> None:
    """`kill -9` at the point that the file names, the first time it is reached or always."""
    file = Path(os.environ.get("FAULT_FILE", os.devnull))
    if not file.is_file():
        return
    named, _, often = file.read_text().partition(" ")
    if named == point:
        if not often:
            file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _create_app(
    settings: Settings, *, worker: int = 0, life: str = "", connections: Callable[[], int] | None = None
) -> app.Application:
    return app.Application(settings, TOOLS, die_at, Metrics(worker, connections), life)


if __name__ == "__main__":
    app.create_app = _create_app
    main(sys.argv[1:])
