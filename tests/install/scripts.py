"""The scripts in `requirements/`, as modules: they are run by path and belong to no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[2]
REQUIREMENTS: Final = ROOT / "requirements"


def script(name: str) -> ModuleType:
    loaded = sys.modules.get(f"requirements_{name}")
    if loaded is None:
        spec = importlib.util.spec_from_file_location(f"requirements_{name}", REQUIREMENTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded = sys.modules[f"requirements_{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    return loaded
