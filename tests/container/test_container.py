"""The image and the compose files, as far as they can be checked where no container is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tertulia.settings import Settings, variable_names

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPOSE = ("compose.yaml", "compose.sqlite.yaml")
FILES = ("Dockerfile", *COMPOSE)
LOCKS = ("runtime", "bedrock", "otel", "embedded-pg", "weights")


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    return dict(re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?)==([^ ;\\\n]+)", text, re.MULTILINE))


def test_the_dockerfile_has_no_complaint_of_its_linter() -> None:
    checked(BIN / "hadolint", "--no-color", "--failure-threshold", "info", "Dockerfile")


@pytest.mark.parametrize("name", COMPOSE)
def test_a_compose_file_has_the_shape_of_one(name: str) -> None:
    checked(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", name)


@pytest.mark.parametrize("name", FILES)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    known = {variable for field_name in Settings.model_fields for variable in variable_names(field_name)}
    # The address is of the host that the container runs on, for compose itself.
    used = set(re.findall(r"\bTERTULIA_[A-Z_]+", (ROOT / name).read_text())) - {"TERTULIA_ADDRESS"}
    assert used
    assert used <= known


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_image_installs_is_what_is_tested(lock: str) -> None:
    assert re.search(rf"\b{lock}\b", (ROOT / "Dockerfile").read_text())
    tested = pins("dev") | pins("weights")
    assert pins(lock)
    assert pins(lock).items() <= tested.items()


def test_every_file_that_the_image_is_made_of_is_sent_to_its_build() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+)/ ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copied == ["requirements", "src"]
    assert kept == {"requirements/*.lock", "requirements/check.py", "src/**"}


def test_replies_get_to_end_before_a_container_is_killed() -> None:
    for name in COMPOSE:
        text = (ROOT / name).read_text()
        grace = re.search(r'TERTULIA_SHUTDOWN_GRACE: "(\d+)"', text)
        patience = re.search(r"stop_grace_period: (\d+)s", text)
        assert grace
        assert patience
        # Beside the replies there are readers to be told and a database to be closed.
        assert int(patience[1]) >= int(grace[1]) + 15
