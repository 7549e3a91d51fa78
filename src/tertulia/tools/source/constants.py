"""Values that a source writes down literally."""

import ast
from typing import Final, TypeAlias

from tertulia.tools.source.problems import SourceProblem

Scalar: TypeAlias = str | int | float | bool | None

_LARGEST: Final = 2**63 - 1
_DEEPEST: Final = 50


def scalar(node: ast.expr, depth: int = 0) -> Scalar:
    """:raises SourceProblem: if only running the source would tell."""
    match node:
        case ast.Constant(value=str() | bool() | float() | None as value):
            return value
        case ast.Constant(value=int() as value) if abs(value) <= _LARGEST:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if abs(value) <= _LARGEST:
            return -value
        case ast.BinOp(left=left, op=ast.Add(), right=right) if depth < _DEEPEST:
            first, second = scalar(left, depth + 1), scalar(right, depth + 1)
            if isinstance(first, str) and isinstance(second, str):
                return first + second
        case _:
            pass
    raise SourceProblem("Expected a literal text, number, True, False or None here: the source is never run", node)


def text_of(node: ast.expr | None) -> str | None:
    """A text that is written down literally, in one piece or several; None if it is anything else."""
    if node is None:
        return None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dedent" and node.args:
        node = node.args[0]
    try:
        value = scalar(node)
    except SourceProblem:
        return None
    return value if isinstance(value, str) else None
