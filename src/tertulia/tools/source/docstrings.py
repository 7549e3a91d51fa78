"""Descriptions in docstrings of the three common styles: Google, NumPy and reStructuredText."""

import inspect
import re
from dataclasses import dataclass
from typing import Final

_ARGUMENTS: Final = frozenset({"args", "arguments", "parameters", "params", "attributes"})
_OTHER_SECTIONS: Final = frozenset(
    {"returns", "return", "raises", "exceptions", "except", "yields", "yield", "example", "examples"}
)
_GOOGLE_ITEM: Final = re.compile(r"\*{0,2}(\w+)[ \t]*(?:\([^\n]*?\))?[ \t]*:(?:[ \t]+|$)(.*)")
_NUMPY_ITEM: Final = re.compile(r"\*{0,2}(\w+(?:[ \t]*,[ \t]*\w+)*)[ \t]*(?::.*)?$")
_REST_ITEM: Final = re.compile(r":(?:param|parameter|arg|argument)[ \t]+(?:[^:\n]*[ \t])?\*{0,2}(\w+)[ \t]*:[ \t]*(.*)")
_REST_FIELD: Final = re.compile(r":(?:param|parameter|arg|argument|type|return|returns|rtype|raises|raise)\b[^:\n]*:")
_RULE: Final = re.compile(r"-{3,}$")


@dataclass(frozen=True, slots=True)
class Docstring:
    """The text before the first section, and the descriptions of the parameters by name."""

    description: str
    parameters: dict[str, str]


def parsed(docstring: str) -> Docstring:
    lines = [line.rstrip() for line in inspect.cleandoc(docstring).splitlines()]
    parameters: dict[str, str] = {}
    end = len(lines)
    index = 0
    while index < len(lines):
        name = _section(lines, index)
        is_field = _REST_FIELD.match(lines[index]) is not None
        if name is None and not is_field:
            index += 1
            continue
        end = min(end, index)
        body_end = _section_end(lines, index + 1)
        if is_field:
            index = _read_field(lines, index, parameters)
        elif name in _ARGUMENTS:
            is_numpy = index + 1 < len(lines) and _RULE.match(lines[index + 1]) is not None
            body = lines[index + 2 : body_end] if is_numpy else lines[index + 1 : body_end]
            _read_items(body, _NUMPY_ITEM if is_numpy else _GOOGLE_ITEM, parameters)
            index = body_end
        else:
            index = body_end
    return Docstring(_paragraphs(lines[:end]), parameters)


def _section(lines: list[str], index: int) -> str | None:
    """The section that begins here, in lower case: a known title with a colon, or one that is underlined."""
    title = lines[index].strip().casefold()
    underlined = index + 1 < len(lines) and _RULE.match(lines[index + 1].strip()) is not None
    if not underlined and not title.endswith(":"):
        return None
    name = title.removesuffix(":").rstrip()
    if name in _ARGUMENTS or name in _OTHER_SECTIONS:
        return name
    return None


def _section_end(lines: list[str], begin: int) -> int:
    for index in range(begin, len(lines)):
        is_flush = bool(lines[index]) and not lines[index][0].isspace()
        if is_flush and (_section(lines, index) is not None or _REST_FIELD.match(lines[index])):
            return index
    return len(lines)


def _read_items(lines: list[str], pattern: re.Pattern[str], parameters: dict[str, str]) -> None:
    """Each item begins at the section's own indentation; what is indented further goes on with it."""
    base = next((_indent(line) for line in lines if line), 0)
    names: list[str] = []
    for line in lines:
        item = pattern.match(line.strip()) if line and _indent(line) <= base else None
        if item is not None:
            names = [name.strip() for name in item.group(1).split(",")]
            first = item.group(2) if pattern is _GOOGLE_ITEM else ""
            parameters.update(dict.fromkeys(names, first.strip()))
        elif line:
            for name in names:
                parameters[name] = f"{parameters[name]}\n{line.strip()}".strip()


def _read_field(lines: list[str], index: int, parameters: dict[str, str]) -> int:
    """Read the reST field on this line with its continuation; where the next line to look at is."""
    item = _REST_ITEM.match(lines[index])
    text = [item.group(2)] if item else []
    index += 1
    while index < len(lines) and lines[index][:1].isspace():
        text.append(lines[index].strip())
        index += 1
    if item:
        parameters[item.group(1)] = "\n".join(text).strip()
    return index


def _paragraphs(lines: list[str]) -> str:
    """The summary line and the rest, as two paragraphs."""
    text = "\n".join(lines).strip()
    summary, _, rest = text.partition("\n")
    return f"{summary.strip()}\n\n{rest.strip()}" if rest.strip() else summary.strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
