"""A tool's source and its arguments, brought together: JSON becomes what the function's annotations say.

Clients send a function without what its annotations name, so those of functions are not evaluated with the source.
"""

import ast
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time
from types import CodeType
from typing import Any, Final, cast

_BY_ISO: Final = (datetime, date, time)
_SEQUENCES: Final[tuple[Any, ...]] = (list, set, frozenset, tuple)


def compiled(source: str, filename: str) -> CodeType:
    """The source, with the annotations of its functions as text."""
    tree = ast.parse(source, filename)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
                if argument is not None and argument.annotation is not None:
                    argument.annotation = _as_text(argument.annotation)
            node.returns = None
    return compile(tree, filename, "exec", dont_inherit=True)


def converted(function: Callable[..., Any], arguments: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The arguments, each as its annotation says, where that can be told from what the source has."""
    parameters = inspect.signature(function).parameters
    return {
        name: _converted(value, _hint(parameters[name].annotation, names)) if name in parameters else value
        for name, value in arguments.items()
    }


def _as_text(annotation: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Constant(ast.unparse(annotation)), annotation)


def _hint(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        hint = eval(annotation, names)  # noqa: S307 -- it is the tool's own, and confined as the tool is
    except Exception:  # noqa: BLE001 -- what cannot be told is left as it came
        return None
    return _hint(hint, names) if isinstance(hint, str) and hint != annotation else hint


def _converted(value: Any, hint: Any) -> Any:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Annotated:
        return _converted(value, inner[0])
    if origin in {typing.Union, types.UnionType}:
        return _one_of(value, [each for each in inner if each is not type(None)])
    if origin in _SEQUENCES and isinstance(value, list):
        items = cast("list[Any]", value)
        made: Any = origin(items if not inner or origin is tuple else (_converted(each, inner[0]) for each in items))
        return made
    if origin is dict and inner:
        return _entries(value, inner[1])
    return _instance(value, hint) if isinstance(hint, type) and not isinstance(value, hint) else value


def _entries(value: Any, hint: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _converted(each, hint) for key, each in cast("dict[str, Any]", value).items()}


def _one_of(value: Any, hints: list[Any]) -> Any:
    for hint in hints:
        try:
            found = _converted(value, hint)
        except (TypeError, ValueError):
            continue
        if found is not value:
            return found
    return value


def _instance(value: Any, kind: type) -> Any:
    if hasattr(kind, "model_validate"):
        return cast("Any", kind).model_validate(value)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        fields = typing.get_type_hints(kind)
        return kind(**{key: _converted(each, fields.get(key)) for key, each in cast("dict[str, Any]", value).items()})
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind in _BY_ISO and isinstance(value, str):
        return cast("Any", kind).fromisoformat(value)
    return value
