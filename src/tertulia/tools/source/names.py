"""What the names of a module mean: its imports, classes and type aliases, without running any of it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Names:
    classes: dict[str, ast.ClassDef] = field(default_factory=dict[str, ast.ClassDef])
    aliases: dict[str, ast.expr] = field(default_factory=dict[str, ast.expr])
    imported: dict[str, str] = field(default_factory=dict[str, str])
    """The name something has where it comes from, by the name it has here."""

    def real(self, node: ast.expr) -> str | None:
        """The name of a type where it comes from, without its module; None if it is not named at all."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return node.attr
        return None


def names_of(module: ast.Module, function: ast.AST | None = None) -> Names:
    names = Names()
    for statement in _statements(module.body):
        _read(statement, names)
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        for statement in function.body:  # models are often defined within the tool, to travel with its source
            _read(statement, names)
    return names


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Module level, and what is there under a condition or a ``try``."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from statement.body
            yield from statement.orelse
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from handler.body


def _read(statement: ast.stmt, names: Names) -> None:
    match statement:
        case ast.ImportFrom(names=imports):
            names.imported.update({each.asname or each.name: each.name for each in imports})
        case ast.ClassDef(name=name):
            names.classes[name] = statement
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            names.aliases[name] = value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            names.aliases[name] = value
        case _:
            alias = getattr(statement, "name", None)  # ``type X = …``, which Python 3.11 has no node for
            value = getattr(statement, "value", None)
            if isinstance(alias, ast.Name) and isinstance(value, ast.expr):
                names.aliases[alias.id] = value
