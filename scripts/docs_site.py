"""Builds the documentation as a site in ``build/site``, without a network: the README is its first page."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"
PAGES = BUILD / "docs"

_INTO_DOCS = re.compile(r"\]\(docs/")
_OUT_OF_DOCS = re.compile(r"\]\((?:\.\./)+([A-Z]+\.md|LICENSE)")


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        shutil.copy(ROOT / name, PAGES / name)
    readme = _INTO_DOCS.sub("](", (ROOT / "README.md").read_text(encoding="utf-8"))
    (PAGES / "index.md").write_text(readme.replace("](CHANGELOG.md)", "](CHANGELOG.md)"), encoding="utf-8")
    for page in PAGES.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        up = "../" * (len(page.relative_to(PAGES).parts) - 1)
        page.write_text(_OUT_OF_DOCS.sub(lambda match, up=up: f"]({up}{_page(match[1])}", text), encoding="utf-8")
    shutil.copy(ROOT / "zensical.toml", BUILD / "zensical.toml")
    subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", "zensical.toml"],
        cwd=BUILD,
        check=True,
    )


def _page(name: str) -> str:
    return "index.md" if name == "README.md" else name


if __name__ == "__main__":
    main()
