"""The promises, their tests and the page about them name the same things."""

import ast
from collections import Counter
from pathlib import Path

from tests.conformance.make_docs import DOCUMENT, document
from tests.conformance.operations import SUPPORTED
from tests.conformance.requirements import BY_ID, REQUIREMENTS


def _tagged() -> Counter[str]:
    """The ids in every `@requirement(…)` of this folder, read from the source so that no test need be collected."""
    found: Counter[str] = Counter()
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in function.decorator_list:
                    if (
                        isinstance(decorator, ast.Call)
                        and isinstance(decorator.func, ast.Name)
                        and decorator.func.id == "requirement"
                    ):
                        assert function.name.startswith("test_"), f"{path.name}: {function.name} is no test"
                        found.update(ast.literal_eval(argument) for argument in decorator.args)
    return found


def test_every_requirement_has_a_test() -> None:
    assert set(BY_ID) - set(_tagged()) == set()


def test_every_tagged_test_has_a_requirement() -> None:
    assert set(_tagged()) - set(BY_ID) == set()


def test_no_two_requirements_have_one_id() -> None:
    assert [id_ for id_, count in Counter(row.id for row in REQUIREMENTS).items() if count > 1] == []


def test_every_requirement_belongs_to_a_supported_operation_or_the_server() -> None:
    assert {row.operation for row in REQUIREMENTS} - SUPPORTED == {"server"}


def test_every_supported_operation_has_a_requirement() -> None:
    # These are proven by a requirement of a sibling, which their own routes are part of.
    by_sibling = {
        "agents.blocks.update": "agents.blocks.by-label",
        "agents.blocks.detach": "agents.blocks.attach-and-detach",
        "agents.messages.compact": "conversations.messages.compact.default-with-agent-id",
        "agents.tools.attach": "agents.tools.attach-and-detach",
        "agents.tools.detach": "agents.tools.attach-and-detach",
    }
    assert SUPPORTED - {row.operation for row in REQUIREMENTS} - by_sibling.keys() == set()
    assert set(by_sibling.values()) <= set(BY_ID)


def test_the_page_is_up_to_date_and_names_every_requirement() -> None:
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written == document(), "run python -m tests.conformance.make_docs"
    assert all(f"`{id_}`" in written for id_ in BY_ID)
