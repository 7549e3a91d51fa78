"""Two saved results side by side: `python -m bench.compare OLD NEW`."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

_SKIPPED = ("machine", "label", "date", "effort", "targets")
_KEYS = ("conversations", "messages", "name")  # what tells the items of a list apart


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a result with its path, such as `throughput.64.messages_per_s`."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield path, float(value)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            if path or key not in _SKIPPED:
                yield from numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from numbers(item, f"{path}.{_key(item, index)}")


def _key(item: object, index: int) -> str:
    if not isinstance(item, dict):
        return str(index)
    fields = cast("dict[str, object]", item)
    name = next((str(fields[key]) for key in _KEYS if key in fields), str(index))
    return f"{name}.streaming" if fields.get("streaming") else name


def table(old: object, new: object) -> str:
    """A line for each number both results have, with its change."""
    before = dict(numbers(old))
    rows = [
        f"{path:<52} {before[path]:>11g} {value:>11g} {_change(before[path], value):>8}"
        for path, value in numbers(new)
        if path in before
    ]
    return "\n".join([f"{'':<52} {'old':>11} {'new':>11} {'change':>8}", *rows])


def _change(old: float, new: float) -> str:
    return f"{(new - old) / old:+.0%}" if old else ""


def load(path: Path) -> object:
    return cast("object", json.loads(path.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("old", type=Path)
    _ = parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    print(table(load(cast("Path", arguments.old)), load(cast("Path", arguments.new))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
