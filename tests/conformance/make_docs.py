"""Writes `docs/compatibility.md` from the requirements and the operations: `python -m tests.conformance.make_docs`."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.operations import SUPPORTED
from tests.conformance.requirements import REQUIREMENTS, Requirement
from tests.conformance.schema import operations

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

_INTRODUCTION = """\
# Compatibility

Tertulia speaks the Letta V1 REST API as the Python package `letta-client` 1.12.1 calls it. This page says what holds:
each line of the tables below has a test of the same id in `tests/conformance`, where the unmodified SDK drives a real
server process. Every reply these tests get is checked against the SDK's schemas as well: a field that is unknown,
absent or of another type fails the test, whatever the test is about, and so does a stream whose frames are out of
order.

This page is written by `python -m tests.conformance.make_docs`; edit `tests/conformance/requirements.py` instead.

## What to know as a user of the SDK

- Iterate over messages with `order="asc"`. In message lists `before` means older and `after` newer than the named
  message, whatever the order, because clients rely on both; the SDK's automatic iteration goes on with `after`, which
  with `order="desc"` would turn back. To read newest first, page with `before` yourself. Every other list goes on in
  its sort order, as the SDK expects.
- The SDK's `conversations.messages.create` always returns a stream object. For `streaming=False` read the reply through
  `client.conversations.messages.with_raw_response.create(…).http_response.read()`, or use `agents.messages.create`.
- A timestamp is RFC 3339 with microseconds and `Z`; a message's `date` is `2026-11-21T15:12:35+00:00`.
- An error is `{"detail": "<what is wrong and what to change>"}` with structured fields beside it; a failing model is
  `{"error": {"type", "message", "detail"}}`.
"""


def document() -> str:
    """The page as it should be."""
    return f"{_INTRODUCTION}\n{_divergences()}\n{_operations()}\n{_requirements()}"


def _divergences() -> str:
    rows = [f"| `{row.id}` | {_cell(row.divergence)} |" for row in REQUIREMENTS if row.divergence]
    return "\n".join(
        ["## Where we differ from the retired server", "", "| id | what is different |", "|---|---|", *rows, ""]
    )


def _operations() -> str:
    known = operations()
    rows = [
        f"| `{row.sdk}` | {row.method} | `{row.path}` | {'supported' if row.sdk in SUPPORTED else '501'} |"
        for row in sorted(known, key=lambda row: row.sdk)
    ]
    return "\n".join(
        [
            f"## The {len(known)} operations of the SDK",
            "",
            f"{len(SUPPORTED)} are supported. The others answer 501 with a body that names the operation, never 404.",
            "",
            "| operation | method | path | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _requirements() -> str:
    lines = [f"## The {len(REQUIREMENTS)} promises", ""]
    for area in dict.fromkeys(_area(row) for row in REQUIREMENTS):
        lines += [f"### {area}", "", "| id | what holds | operation |", "|---|---|---|"]
        lines += [
            f"| `{row.id}` | {_cell(row.text)} | `{row.operation}` |" for row in REQUIREMENTS if _area(row) == area
        ]
        lines.append("")
    return "\n".join(lines)


def _area(row: Requirement) -> str:
    return row.id.split(".", maxsplit=1)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
