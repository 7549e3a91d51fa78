"""A tool's name, description and parameters, read from its source without running any of it."""

import json
from textwrap import dedent
from typing import Any

import pytest

from tertulia.tools.source.docstrings import parsed
from tertulia.tools.source.problems import SourceProblem
from tertulia.tools.source.schema import read, tool_schema


def of_hint(hint: str, before: str = "") -> tuple[dict[str, Any], bool]:
    """The schema of a parameter with this hint, and whether it is required."""
    source = f'{before}\ndef f(a: {hint}):\n    """Do it.\n\n    Args:\n        a: The a.\n    """\n'
    parameters = read(source)["parameters"]
    schema = dict(parameters["properties"]["a"])
    assert schema.pop("description")
    return schema, parameters["required"] == ["a"]


def problem_of(source: str) -> str:
    with pytest.raises(SourceProblem) as problem:
        read(dedent(source))
    return str(problem.value)


STRING = {"type": "string"}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("hint", "schema", "required"),
    [
        ("int", INTEGER, True),
        ("str", STRING, True),
        ("float", {"type": "number"}, True),
        ("bool", {"type": "boolean"}, True),
        ("Optional[str]", STRING, False),
        ("str | None", STRING, False),
        ("None | str", STRING, False),
        ("typing.Optional[int]", INTEGER, False),
        ("Union[int, str]", {"anyOf": [INTEGER, STRING]}, True),
        ("int | str | None", {"anyOf": [INTEGER, STRING]}, False),
        ("list", {"type": "array", "items": STRING}, True),
        ("List[str]", {"type": "array", "items": STRING}, True),
        ("list[list[int]]", {"type": "array", "items": {"type": "array", "items": INTEGER}}, True),
        ("list[dict]", {"type": "array", "items": {"type": "object"}}, True),
        ("list[int | None]", {"type": "array", "items": {"anyOf": [INTEGER, {"type": "null"}]}}, True),
        ("dict", {"type": "object"}, True),
        ("Dict[str, Any]", {"type": "object"}, True),
        ("dict[str, int]", {"type": "object", "additionalProperties": INTEGER}, True),
        ("tuple[int, ...]", {"type": "array", "items": INTEGER}, True),
        (
            "tuple[int, str]",
            {"type": "array", "items": {"anyOf": [INTEGER, STRING]}, "minItems": 2, "maxItems": 2},
            True,
        ),
        ("set[str]", {"type": "array", "items": STRING, "uniqueItems": True}, True),
        ("Literal['x', 'y']", {"type": "string", "enum": ["x", "y"]}, True),
        ("Literal[1, -2]", {"type": "integer", "enum": [1, -2]}, True),
        ("Literal['x', None]", {"type": "string", "enum": ["x"]}, False),
        ("'Optional[int]'", INTEGER, False),
        ("Any", {}, True),
        ("bytes", STRING, True),
        ("date", {"type": "string", "format": "date"}, True),
        ("datetime.datetime", {"type": "string", "format": "date-time"}, True),
        ("Annotated[int, Field(ge=1, le=6, description='Eyes.')]", INTEGER | {"minimum": 1, "maximum": 6}, True),
        ("int = 3", INTEGER, False),
        ("str = Field('x', max_length=5, description='Short.')", STRING | {"maxLength": 5}, False),
    ],
)
def test_a_type_hint_has_the_schema_that_people_expect(hint: str, schema: dict[str, Any], required: bool) -> None:
    assert of_hint(hint) == (schema, required)


@pytest.mark.parametrize(
    ("before", "hint", "schema"),
    [
        (
            (
                "class Point(BaseModel):\n    x: int = Field(..., description='X.')\n"
                "    y: int = Field(0, description='Y.')"
            ),
            "Point",
            {
                "type": "object",
                "properties": {"x": INTEGER | {"description": "X."}, "y": INTEGER | {"description": "Y."}},
                "required": ["x"],
            },
        ),
        (
            "@dataclass\nclass Point:\n    x: int\n    y: int = 0",
            "list[Point]",
            {
                "type": "array",
                "items": {"type": "object", "properties": {"x": INTEGER, "y": INTEGER}, "required": ["x"]},
            },
        ),
        (
            "class Point(TypedDict, total=False):\n    x: Required[int]\n    y: int",
            "Point",
            {"type": "object", "properties": {"x": INTEGER, "y": INTEGER}, "required": ["x"]},
        ),
        ("class Hue(str, Enum):\n    RED = 'red'\n    TEAL = 'teal'", "Hue", STRING | {"enum": ["red", "teal"]}),
        ("class Size(Enum):\n    S = auto()\n    L = auto()", "Size", INTEGER | {"enum": [1, 2]}),
        ("Names = list[str]", "Names", {"type": "array", "items": STRING}),
        ("import typing as t", "t.List[int]", {"type": "array", "items": INTEGER}),
        ("from typing import Optional as Maybe", "dict[str, Maybe[int]]", None),
        ("UserId = NewType('UserId', int)", "UserId", INTEGER),
        (
            "@dataclass\nclass Node:\n    value: int\n    next: 'Node | None' = None",
            "Node",
            {"type": "object", "properties": {"value": INTEGER, "next": {"type": "object"}}, "required": ["value"]},
        ),
    ],
)
def test_a_type_that_the_source_defines_is_known(before: str, hint: str, schema: dict[str, Any] | None) -> None:
    found, required = of_hint(hint, before)
    assert required
    assert schema is None or found == schema


def test_fields_are_inherited_within_the_source() -> None:
    before = "@dataclass\nclass A:\n    x: int\n\n@dataclass\nclass B(A):\n    y: int"
    assert of_hint("B", before)[0]["required"] == ["x", "y"]


def test_the_last_function_is_the_tool_unless_another_is_named() -> None:
    source = 'def helper():\n    """Help."""\n\nasync def tool():\n    """Do it.\n    And more.\n    """\n'
    assert read(source) == {
        "name": "tool",
        "description": "Do it.\n\nAnd more.",
        "parameters": {"type": "object", "properties": {}, "required": []},
    }
    assert read(source, "helper")["name"] == "helper"


def test_what_the_server_fills_in_is_left_out() -> None:
    signature = 'def f(self, agent_state: "AgentState", client, *args, a: int, **kwargs):'
    source = f"{signature}\n    '''Do.\n\n    Args:\n        a: A.\n    '''"
    assert list(read(source)["parameters"]["properties"]) == ["a"]


def test_a_given_schema_of_the_arguments_needs_no_hints_and_no_docstring() -> None:
    given = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert read("def f(a): ...", None, given) == {"name": "f", "description": "The f tool", "parameters": given}


@pytest.mark.parametrize(
    "docstring",
    [
        "Sum.\n\nArgs:\n    a (int, optional): The first.\n        It goes on.\n    b: Second.\n\nReturns:\n    c: No.",
        (
            "Sum.\n\nParameters\n----------\na : int\n    The first.\n    It goes on.\nb : int\n    Second.\n\n"
            "Returns\n-------\nint"
        ),
        "Sum.\n\n:param a: The first.\n    It goes on.\n:type a: int\n:param int b: Second.\n:returns: no",
    ],
)
def test_docstrings_of_three_styles_describe_parameters(docstring: str) -> None:
    found = parsed(docstring)
    assert found.description == "Sum."
    assert found.parameters == {"a": "The first.\nIt goes on.", "b": "Second."}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "No functions found in source code"),
        ("def f(:\n  pass", "Failed to parse source code: invalid syntax (line 1)"),
        ("def f(): ...", "Function f missing docstring (line 1)"),
        ("\ndef f(a):\n    '''Do.'''", "Parameter 'a' in function 'f' lacks a type annotation (line 2)"),
        ("def f(\n    a: int,\n):\n    '''Do.'''", "Parameter 'a' in function 'f' lacks a description"),
        ("def f(a: Widget):\n    '''Do.\n\n    Args:\n        a: A.\n    '''", "The type 'Widget' has no JSON schema"),
        ("def f(a: int, /):\n    '''Do.'''", "positional-only"),
        ("A = list['A']\ndef f(a: A):\n    '''Do.'''", "refers to itself"),
        ("class A: ...\ndef f(a: A):\n    '''Do.'''", "Make it a pydantic model"),
        ("class A(A): ...\ndef f(a: A):\n    '''Do.'''", "go too deep"),
        ("def f(a: Literal[g()]):\n    '''Do.'''", "the source is never run"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(source: str, message: str) -> None:
    found = problem_of(source)
    assert message in found
    assert source == "x = 1" or "(line " in found


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...\0",
        "(" * 100_000,
        "-" * 20_000 + "1",
        "lambda:" * 20_000 + "0",
        "def f(a: " + "list[" * 150 + "int" + "]" * 150 + "):\n    '''Do.'''",
        "def f():\n    '''\\ud800'''",
        "def f(a: Literal[1e999]):\n    '''Do.\n\n    Args:\n        a: A.\n    '''",
        "".join(f"A{i} = dict[A{i + 1}, A{i + 1}] | tuple[A{i + 1}, A{i + 1}]\n" for i in range(30))
        + "A30 = int\ndef f(a: A0):\n    '''Do.'''",
    ],
)
def test_a_hostile_source_is_told_what_is_wrong_with_it(source: str) -> None:
    assert not tool_schema(source, "", "")["problem"].endswith(": ")


def test_a_schema_comes_back_as_json() -> None:
    assert json.loads(tool_schema("def f():\n    '''Grüße.'''", "", "")["schema"])["description"] == "Grüße."
