"""Names of tools as every provider takes them, and back to what the client called them.

Clients name tools as they like (``calendar.respondToEvent``, ``user-profile/update``, ``поиск``, seventy letters);
providers take letters, digits, dashes and underscores, at most 64 of them, and Google no digit first. A name that is
not so by itself gets a digest of itself, so no two names become one, and each becomes the same in every request.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from tertulia.domain.tools import ToolSpec

_TAKEN: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_NOT_TAKEN: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST: Final = 8  # hexadecimal digits
_KEPT: Final = 64 - _DIGEST - 2


def tool_name(name: str) -> str:
    """The name on the wire."""
    if _TAKEN.fullmatch(name):
        return name
    kept = _NOT_TAKEN.sub("_", name)[:_KEPT]
    digest = sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{kept if kept[:1].isalpha() else f'_{kept}'}_{digest}"


def own_names(tools: Iterable[ToolSpec]) -> Mapping[str, str]:
    """The tools' own names by those on the wire, where they differ."""
    return {wire: tool.name for tool in tools if (wire := tool_name(tool.name)) != tool.name}
