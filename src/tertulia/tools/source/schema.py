"""Name, description and parameters of the tool that a Python source defines."""

import ast
import json
from typing import Any, Final, TypeAlias

from tertulia.tools.source.docstrings import Docstring, parsed
from tertulia.tools.source.hints import Hints, describe, is_field
from tertulia.tools.source.models import SourceModels
from tertulia.tools.source.names import names_of
from tertulia.tools.source.problems import SourceProblem

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_GIVEN: Final = frozenset({"self", "cls", "agent_state", "client"})
"""Parameters that the server fills in; no model is told of them."""

_PREFIX: Final = "Failed to derive json schema: Schema generation failed: "


def tool_schema(source: str, name: str, arguments: str) -> dict[str, str]:
    """What a child answers of a source: ``schema`` as JSON text, or what is the ``problem`` with the source.

    ``name`` is the function that is meant, or empty for the last one; ``arguments`` is ``args_json_schema`` as JSON
    text, or empty.
    """
    try:
        found = read(source, name or None, json.loads(arguments) if arguments else None)
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
        text.encode()  # a source may write half a character as an escape
    except SourceProblem as problem:
        return {"problem": _PREFIX + str(problem)}
    except RecursionError:
        return {"problem": _PREFIX + "Failed to parse source code: it is nested too deeply"}
    except UnicodeEncodeError:
        return {"problem": _PREFIX + "A text in the source has half of a surrogate pair, which is no character"}
    except ValueError as error:
        return {"problem": f"{_PREFIX}{error}"}
    return {"schema": text}


def read(source: str, name: str | None = None, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON schema of the tool.

    :raises SourceProblem: if there is none, or it cannot be told.
    """
    module = _parsed(source)
    function = _chosen(module, name)
    docstring = ast.get_docstring(function, clean=False)
    doc = parsed(docstring) if docstring and docstring.strip() else None
    if arguments is not None:
        described = doc.description if doc else ""
        return {
            "name": function.name,
            "description": described or f"The {function.name} tool",
            "parameters": arguments,
        }
    if doc is None:
        raise SourceProblem(f"Function {function.name} missing docstring", function)
    return {"name": function.name, "description": doc.description, "parameters": _parameters(module, function, doc)}


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise SourceProblem(f"Failed to parse source code: {error.msg}", error.lineno) from error
    except (ValueError, MemoryError) as error:  # a NUL, or nested too deeply for the parser
        raise SourceProblem(f"Failed to parse source code: {str(error) or 'it is nested too deeply'}") from error


def _chosen(module: ast.Module, name: str | None) -> _Function:
    functions = [each for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        raise SourceProblem("No functions found in source code")
    if name is None:
        return functions[-1]
    for function in reversed(functions):
        if function.name == name:
            return function
    found = ", ".join(function.name for function in functions[:20])
    raise SourceProblem(
        f"Tool name '{name}' in the JSON schema does not match a function in the source code, which has: {found}"
    )


def _parameters(module: ast.Module, function: _Function, doc: Docstring) -> dict[str, Any]:
    hints = Hints(names_of(module, function), SourceModels())
    properties: dict[str, Any] = {}
    required: list[str] = []
    for argument, default in _arguments(function):
        where = f"Parameter '{argument.arg}' in function '{function.name}'"
        if argument.annotation is None:
            raise SourceProblem(f"Type error in schema generation: {where} lacks a type annotation", argument)
        hint = hints.read(argument.annotation)
        if default is not None and is_field(default, hints.names):
            describe(hint, default)
        description = hint.description or doc.parameters.get(argument.arg)
        if not description:
            raise SourceProblem(
                f"Value error in schema generation: {where} lacks a description in the docstring", argument
            )
        properties[argument.arg] = {**hint.schema, "description": description}
        if default is None and not hint.optional:
            required.append(argument.arg)
    return {"type": "object", "properties": properties, "required": required}


def _arguments(function: _Function) -> list[tuple[ast.arg, ast.expr | None]]:
    """The parameters that a caller names, with their defaults."""
    given = function.args
    if given.posonlyargs and any(each.arg not in _GIVEN for each in given.posonlyargs):
        raise SourceProblem(
            f"Function '{function.name}' has positional-only parameters, and a tool's arguments are named", function
        )
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [(argument, default) for argument, default in pairs if argument.arg not in _GIVEN]
