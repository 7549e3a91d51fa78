"""The JSON schema of a class that a tool's source defines: an enum, pydantic model, dataclass or typed dictionary."""

import ast
from typing import Any, Final, TypeAlias

from tertulia.tools.source.constants import Scalar, scalar, text_of
from tertulia.tools.source.docstrings import parsed
from tertulia.tools.source.hints import Hint, Hints, Schema, describe, enumeration, is_field
from tertulia.tools.source.problems import SourceProblem

_Field: TypeAlias = tuple[str, Hint, bool, ast.AST]
_ENUMS: Final = frozenset({"Enum", "IntEnum", "StrEnum"})
_PYDANTIC: Final = frozenset({"BaseModel", "RootModel"})
_STRUCTURES: Final = frozenset({"TypedDict", "NamedTuple", "Struct", *_PYDANTIC})
_DATACLASSES: Final = frozenset({"dataclass", "dataclasses", "define", "frozen", "attrs"})
_DEEPEST: Final = 20


class SourceModels:
    def schema(self, definition: ast.ClassDef, hints: Hints, depth: int) -> Schema:
        bases = _bases(definition, hints)
        if bases & _ENUMS:
            return enumeration(_members(definition, bases))
        is_structure = bool(bases & _STRUCTURES) or any(
            _is_dataclass(each, hints) for each in definition.decorator_list
        )
        if not is_structure:
            raise SourceProblem(
                f"The class '{definition.name}' has no JSON schema. Make it a pydantic model, a dataclass, a TypedDict "
                "or an Enum",
                definition,
            )
        properties: dict[str, Any] = {}
        required: list[str] = []
        docs = _docs(definition)
        for name, hint, needed, node in _fields(definition, hints, depth):
            description = hint.description or docs.get(name)
            if not description and bases & _PYDANTIC:
                raise SourceProblem(
                    f"Field '{name}' of the model '{definition.name}' lacks a description: use Field(description=…)",
                    node,
                )
            properties[name] = {**hint.schema, "description": description} if description else hint.schema
            if needed and name not in required:
                required.append(name)
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
        }


def _bases(definition: ast.ClassDef, hints: Hints, depth: int = 0) -> set[str]:
    """The names of all its base classes, through those that are defined in the source."""
    if depth > _DEEPEST:
        raise SourceProblem(f"The base classes of '{definition.name}' go too deep", definition)
    found: set[str] = set()
    for base in definition.bases:
        node = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(node, ast.Name) and node.id in hints.names.classes:
            found |= _bases(hints.names.classes[node.id], hints, depth + 1)
        elif (name := hints.names.real(node)) is not None:
            found.add(name)
    return found


def _is_dataclass(decorator: ast.expr, hints: Hints) -> bool:
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    return hints.names.real(node) in _DATACLASSES


def _members(definition: ast.ClassDef, bases: set[str]) -> list[Scalar]:
    values: list[Scalar] = []
    for statement in definition.body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        name, value = statement.targets[0].id, statement.value
        if name.startswith("_"):
            continue
        if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "auto":
            values.append(name.lower() if "StrEnum" in bases else len(values) + 1)
        else:
            values.append(scalar(value))
    if not values:
        raise SourceProblem(f"The enum '{definition.name}' has no values", definition)
    return values


def _fields(definition: ast.ClassDef, hints: Hints, depth: int, level: int = 0) -> list[_Field]:
    """Its own fields after those that it inherits within the source."""
    fields: dict[str, _Field] = {}
    if level > _DEEPEST:
        raise SourceProblem(f"The base classes of '{definition.name}' go too deep", definition)
    for base in definition.bases:
        if isinstance(base, ast.Name) and base.id in hints.names.classes:
            for inherited in _fields(hints.names.classes[base.id], hints, depth, level + 1):
                fields[inherited[0]] = inherited
    total = not any(
        keyword.arg == "total" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in definition.keywords
    )
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            read = _field(statement.target.id, statement, hints, depth, total=total)
            if read is not None:
                fields[read[0]] = read
    return list(fields.values())


def _field(name: str, statement: ast.AnnAssign, hints: Hints, depth: int, *, total: bool) -> _Field | None:
    base = statement.annotation.value if isinstance(statement.annotation, ast.Subscript) else statement.annotation
    if name.startswith("_") or name == "model_config" or hints.names.real(base) == "ClassVar":
        return None
    hint = hints.read(statement.annotation, depth + 1)
    needed = total and not hint.optional
    if hint.not_required is not None:
        needed = not hint.not_required
    value = statement.value
    if isinstance(value, ast.Call) and is_field(value, hints.names):
        describe(hint, value)
        name = next((text for each in value.keywords if each.arg == "alias" and (text := text_of(each.value))), name)
        needed = needed and not _has_default(value)
    elif value is not None:
        needed = False
    return name, hint, needed, statement


def _has_default(call: ast.Call) -> bool:
    if call.args:
        return not (isinstance(call.args[0], ast.Constant) and call.args[0].value is ...)
    return any(
        keyword.arg in {"default", "default_factory"}
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is ...)
        for keyword in call.keywords
    )


def _docs(definition: ast.ClassDef) -> dict[str, str]:
    text = ast.get_docstring(definition, clean=False)
    return parsed(text).parameters if text else {}
