"""The pages hold together: every link leads somewhere, and every file a contributor is sent to is there."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tertulia"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@cache
def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link can name on the page, as GitHub and MkDocs both spell it."""
    spoken = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return frozenset(heading.replace(" ", "-") for heading in spoken)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if ":" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/ARCHITECTURE.md"])
def test_every_file_and_folder_that_contributors_are_sent_to_exists(page: str) -> None:
    named = re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|/)|tests/\w+)`", prose(ROOT / page))
    assert len(named) > 30
    for name in named:
        assert any((root / name).exists() for root in (ROOT, SOURCE)), name


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "docs/releasing.md", "docs/operations.md"])
def test_every_make_target_that_is_told_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)) <= targets


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = set(_LINK.findall(prose(DECISIONS / "README.md")))
    assert {page.name for page in DECISIONS.glob("*.md")} == listed | {"README.md"}
