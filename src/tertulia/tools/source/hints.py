"""The JSON schema of a type hint, read from its syntax tree."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

from tertulia.tools.source.constants import Scalar, scalar, text_of
from tertulia.tools.source.names import Names
from tertulia.tools.source.problems import SourceProblem

Schema: TypeAlias = dict[str, Any]

_SIMPLE: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "int": {"type": "integer"},
        "str": {"type": "string"},
        "float": {"type": "number"},
        "complex": {"type": "string"},
        "bool": {"type": "boolean"},
        "bytes": {"type": "string"},
        "Decimal": {"type": "number"},
        "Number": {"type": "number"},
        "date": {"type": "string", "format": "date"},
        "datetime": {"type": "string", "format": "date-time"},
        "time": {"type": "string", "format": "time"},
        "timedelta": {"type": "string", "format": "duration"},
        "UUID": {"type": "string", "format": "uuid"},
        "Path": {"type": "string"},
        "LiteralString": {"type": "string"},
        "Text": {"type": "string"},
        "EmailStr": {"type": "string", "format": "email"},
        "HttpUrl": {"type": "string", "format": "uri"},
        "AnyUrl": {"type": "string", "format": "uri"},
        "Any": {},
        "object": {},
    }
)
_ARRAYS: Final = frozenset({"list", "List", "Sequence", "MutableSequence", "Iterable", "Collection", "Iterator"})
_SETS: Final = frozenset({"set", "Set", "frozenset", "FrozenSet", "AbstractSet", "MutableSet"})
_TUPLES: Final = frozenset({"tuple", "Tuple"})
_OBJECTS: Final = frozenset({"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"})
_TRANSPARENT: Final = frozenset({"Final", "ClassVar", "Required", "NotRequired", "ReadOnly"})
_BOUNDS: Final[Mapping[str, str]] = MappingProxyType(
    {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "pattern": "pattern"}
)
_DEEPEST: Final = 40
_MOST: Final = 5000


@dataclass(slots=True)
class Hint:
    """A type hint's schema, whether it allows None, and what it says about itself."""

    schema: Schema
    optional: bool = False
    description: str | None = None
    not_required: bool | None = None


@dataclass(slots=True)
class Hints:
    """Reads the hints of one module. ``models`` gives the schema of a class that is defined in it."""

    names: Names
    models: "Models"
    _open: list[str] = field(default_factory=list[str])
    _read: int = 0

    def read(self, node: ast.expr, depth: int = 0) -> Hint:  # noqa: PLR0911  one for each kind of node
        """:raises SourceProblem: if it cannot be told, or is too large."""
        self._read += 1
        if depth > _DEEPEST or self._read > _MOST:
            raise SourceProblem("The type hints are nested too deeply or refer to too many types", node)
        match node:
            case ast.Constant(value=None):
                return Hint({"type": "null"}, optional=True)
            case ast.Constant(value=str() as text):
                return self.read(_unquoted(text, node), depth + 1)
            case ast.BinOp(op=ast.BitOr()):
                return self._union(_alternatives(node), node, depth)
            case ast.Subscript(value=base, slice=inner):
                return self._generic(self.names.real(base), inner, node, depth)
            case ast.Name() | ast.Attribute():
                return self._named(node, depth)
            case ast.Call(func=func, args=[_, supertype]) if self.names.real(func) == "NewType":
                return self.read(supertype, depth + 1)
            case ast.Call(func=func) if self.names.real(func) == "TypeVar":
                return Hint({})
            case _:
                raise SourceProblem(f"The type hint '{_shown(node)}' has no JSON schema", node)

    def _named(self, node: ast.Name | ast.Attribute, depth: int) -> Hint:
        if isinstance(node, ast.Name) and (own := node.id) in {*self.names.classes, *self.names.aliases}:
            return self._own(own, node, depth)
        name = self.names.real(node) or ""
        if name in _SIMPLE:
            return Hint(dict(_SIMPLE[name]))
        if name in _ARRAYS or name in _TUPLES:
            return Hint({"type": "array", "items": {"type": "string"}})
        if name in _SETS:
            return Hint({"type": "array", "items": {"type": "string"}, "uniqueItems": True})
        if name in _OBJECTS:
            return Hint({"type": "object"})
        raise SourceProblem(
            f"The type '{_shown(node)}' has no JSON schema: it is neither a type that is known nor defined in the "
            "source. Define it there, or send args_json_schema",
            node,
        )

    def _own(self, name: str, node: ast.expr, depth: int) -> Hint:
        if name in self._open:
            if name in self.names.classes:  # a model within itself: as deep as the model likes
                return Hint({"type": "object"})
            raise SourceProblem(f"The type alias '{name}' refers to itself", node)
        self._open.append(name)
        try:
            if name in self.names.classes:
                return Hint(self.models.schema(self.names.classes[name], self, depth + 1))
            return self.read(self.names.aliases[name], depth + 1)
        finally:
            self._open.pop()

    def _generic(  # noqa: PLR0911  one for each kind of generic
        self, name: str | None, inner: ast.expr, node: ast.expr, depth: int
    ) -> Hint:
        items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name == "Literal":
            return _enumeration([scalar(each) for each in items], node)
        if name == "Annotated" and items:
            return self._annotated(items, depth)
        if name == "Optional":
            hint = self.read(inner, depth + 1)
            hint.optional = True
            return hint
        if name == "Union":
            return self._union(items, node, depth)
        if name in _TRANSPARENT:
            hint = self.read(inner, depth + 1)
            hint.not_required = {"Required": False, "NotRequired": True}.get(name, hint.not_required)
            return hint
        if name in _ARRAYS or name in _SETS:
            unique = {"uniqueItems": True} if name in _SETS else {}
            return Hint({"type": "array", "items": self._item(inner, depth), **unique})
        if name in _TUPLES:
            return Hint(self._tuple(items, depth))
        if name in _OBJECTS and len(items) == 2:  # noqa: PLR2004  a key and a value
            value = self._item(items[1], depth)
            return Hint({"type": "object", "additionalProperties": value} if value else {"type": "object"})
        if name == "type":
            return Hint({"type": "string"})
        raise SourceProblem(f"The type hint '{_shown(node)}' has no JSON schema", node)

    def _item(self, node: ast.expr, depth: int) -> Schema:
        """The schema of what is within another: here None is a value."""
        hint = self.read(node, depth + 1)
        schema = hint.schema
        if hint.optional and schema and schema != {"type": "null"}:
            others: list[Schema] = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
            schema = {"anyOf": [*others, {"type": "null"}]}
        return {**schema, "description": hint.description} if hint.description else schema

    def _tuple(self, items: Sequence[ast.expr], depth: int) -> Schema:
        if len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...:  # noqa: PLR2004
            return {"type": "array", "items": self._item(items[0], depth)}
        kinds = _distinct(self._item(item, depth) for item in items)
        # ``prefixItems`` would say more, and several providers refuse it.
        inner: Schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
        return {"type": "array", "items": inner, "minItems": len(items), "maxItems": len(items)}

    def _union(self, items: Sequence[ast.expr], node: ast.expr, depth: int) -> Hint:
        hints = [self.read(item, depth + 1) for item in items]
        kinds = _distinct(hint.schema for hint in hints if hint.schema != {"type": "null"})
        optional = any(hint.optional for hint in hints)
        if not kinds:
            return Hint({"type": "null"}, optional=True)
        if {} in kinds:  # anything
            return Hint({}, optional)
        if not items:
            raise SourceProblem("A Union needs types", node)
        return Hint(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}, optional)

    def _annotated(self, items: Sequence[ast.expr], depth: int) -> Hint:
        hint = self.read(items[0], depth + 1)
        for extra in items[1:]:
            if isinstance(extra, ast.Call) and self.names.real(extra.func) == "Doc" and extra.args:
                hint.description = text_of(extra.args[0]) or hint.description
            elif is_field(extra, self.names):
                describe(hint, extra)
            else:
                hint.description = text_of(extra) or hint.description
        return hint


class Models(Protocol):
    """What gives the schema of a class of the source."""

    def schema(self, definition: ast.ClassDef, hints: Hints, depth: int) -> Schema: ...


def is_field(node: ast.expr | None, names: Names) -> bool:
    return isinstance(node, ast.Call) and names.real(node.func) in {"Field", "field", "Query", "Body"}


def describe(hint: Hint, call: ast.expr) -> None:
    """Take over what a ``Field(…)`` says of a value."""
    if not isinstance(call, ast.Call):
        return
    for keyword in call.keywords:
        if keyword.arg == "description":
            hint.description = text_of(keyword.value) or hint.description
        elif (bound := _BOUNDS.get(keyword.arg or "")) is not None:
            hint.schema[bound] = scalar(keyword.value)
        elif keyword.arg in {"min_length", "max_length"}:
            noun = {"string": "Length", "array": "Items"}.get(hint.schema.get("type", ""))
            if noun is not None:
                hint.schema[f"{'min' if keyword.arg == 'min_length' else 'max'}{noun}"] = scalar(keyword.value)


def _enumeration(values: Sequence[Scalar], node: ast.expr) -> Hint:
    given = [value for value in values if value is not None]
    if not given:
        raise SourceProblem("A Literal needs values", node)
    return Hint(enumeration(given), optional=None in values)


def enumeration(values: Sequence[Scalar]) -> Schema:
    kinds = {type(value) for value in values}
    names: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    if len(kinds) == 1 and (name := names.get(kinds.pop())) is not None:
        return {"type": name, "enum": list(values)}
    return {"enum": list(values)}


def _alternatives(node: ast.expr) -> list[ast.expr]:
    """``a | b | c``, which the tree nests to the left, in order."""
    found: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _distinct(schemas: Iterable[Schema]) -> list[Schema]:
    found: list[Schema] = []
    for schema in schemas:
        if schema not in found:
            found.append(schema)
    return found


def _unquoted(text: str, node: ast.expr) -> ast.expr:
    try:
        expression = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise SourceProblem(f"The quoted type hint '{text[:100]}' cannot be parsed", node) from error
    for each in ast.walk(expression):
        if isinstance(each, ast.expr):
            each.lineno = node.lineno
    return expression


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 100 else text[:100] + "…"  # noqa: PLR2004
