"""What is wrong with a tool's source, and where."""

import ast


class SourceProblem(Exception):
    """A sentence for whoever wrote the source, with the line if it has one."""

    def __init__(self, message: str, at: ast.AST | int | None = None) -> None:
        line = at if isinstance(at, int) else getattr(at, "lineno", None)
        super().__init__(f"{message} (line {line})" if line else message)
