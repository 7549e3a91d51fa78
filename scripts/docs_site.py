"""Builds the documentation as a site in ``build/site``, without a network. Its first page is the README."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "docs"
FROM_ROOT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
"""What is laid beside the pages of ``docs/``, so that the site has one folder."""

_LINK = re.compile(r"(?<=\]\()(?:docs/|(?:\.\./)+(?=[A-Z]))")


def main() -> int:
    lay_out(PAGES)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, check=False).returncode
    if done == 0:
        print(f"== {(ROOT / 'build' / 'site' / 'index.html').relative_to(ROOT)}")
    return done


def lay_out(pages: Path) -> None:
    """Copy every page into one folder, with links that hold there."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    for name in FROM_ROOT:
        shutil.copy(ROOT / name, pages / name)
    (pages / "README.md").rename(pages / "index.md")
    for page in pages.rglob("*.md"):
        up = "../" * (len(page.relative_to(pages).parts) - 1)
        text = _LINK.sub(
            lambda match, up=up: up if match[0].startswith("../") else "", page.read_text(encoding="utf-8")
        )
        page.write_text(text.replace(f"]({up}README.md", f"]({up}index.md"), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
