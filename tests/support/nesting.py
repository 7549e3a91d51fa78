"""JSON nested as deeply as a stranger likes."""

from typing import Any


def nested(depth: int) -> dict[str, Any]:
    """So many objects, each but the last in another one."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def nested_text(depth: int) -> str:
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)
