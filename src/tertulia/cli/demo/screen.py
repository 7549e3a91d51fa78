"""How the demo looks: two columns that grow together on a terminal, one line per token anywhere else."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.text import Text

_REFRESHES_A_SECOND: Final = 10  # more would take the model's time
_COLUMN: Final = 36


class Screen:
    """What was said in each conversation, shown while it is said. ``titles`` are the conversations' names."""

    def __init__(self, titles: Sequence[str], *, plain: bool) -> None:
        self._console = Console(highlight=False)
        self._titles = titles
        self._texts = {title: Text() for title in titles}
        self._thinking = Spinner("dots", "thinking")
        self._live: Live | None = None
        self._plain = plain or not self._console.is_terminal

    def say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)

    def check(self, text: str, *, passed: bool) -> None:
        mark, style = ("✓", "green") if passed else ("✗ FAILED:", "bold red")
        self.say(f"  {mark} {text}", style)

    def code(self, text: str) -> None:
        self.say("\n".join(f"    {line}" for line in text.strip().splitlines()), "cyan")

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """Say that something goes on, until it is over."""
        if self._plain:
            self.say(f"{text} …")
            yield
        else:
            with self._console.status(text):
                yield

    @contextmanager
    def conversations(self) -> Generator[None]:
        """Everything said meanwhile is shown as it comes."""
        self._texts = {title: Text() for title in self._titles}
        if self._plain:
            yield
            return
        with Live(self._picture(), console=self._console, refresh_per_second=_REFRESHES_A_SECOND) as self._live:
            yield
        self._live = None

    def user(self, title: str, text: str) -> None:
        self._texts[title].append(f"you    {text}\n", "bold")
        self._show(title, f"you: {text}")

    def token(self, title: str, text: str) -> None:
        spoken = self._texts[title]
        if spoken.plain.endswith("\n"):
            spoken.append("agent  ", "green")
        spoken.append(text)
        self._show(title, text)

    def _show(self, title: str, text: str) -> None:
        if self._live:
            self._live.update(self._picture())
        elif self._plain:
            indent = _COLUMN * self._titles.index(title)
            self.say(f"{title:>12} │ {'':{indent}}{text!r}" if text.isspace() else f"{title:>12} │ {'':{indent}}{text}")

    def _picture(self) -> RenderableType:
        width = max(_COLUMN, self._console.width // len(self._titles) - 1)
        panels = [Panel(self._spoken(title), title=title, width=width) for title in self._titles]
        return Group(Columns(panels, padding=(0, 1)))

    def _spoken(self, title: str) -> RenderableType:
        spoken = self._texts[title]
        if not spoken.plain.endswith("\n"):
            return spoken
        asked = spoken.copy()
        asked.rstrip()
        return Group(asked, self._thinking)
