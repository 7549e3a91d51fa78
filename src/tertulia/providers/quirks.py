"""Where servers of the Chat Completions dialect depart from their fellows. A table, by the host that answers."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """``max_tokens`` is the parameter for the length of a reply. ``reasoning_back`` servers want reasoning sent back.

    ``cache_key`` servers take ``prompt_cache_key``.
    """

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_back: bool = False
    cache_key: bool = False


_OPENAI: Final = Quirks(max_tokens="max_completion_tokens", cache_key=True)
# Their thinking models refuse a history in which the reasoning before a tool call is missing.
_THINKING: Final = Quirks(reasoning_back=True)

_BY_DOMAIN: Final[dict[str, Quirks]] = {
    "openai.com": _OPENAI,
    "openai.azure.com": _OPENAI,
    "deepseek.com": _THINKING,
    "moonshot.ai": _THINKING,
    "moonshot.cn": _THINKING,
}


def quirks_of(base_url: str) -> Quirks:
    host = f".{urlsplit(base_url).hostname or ''}"
    return next((quirks for domain, quirks in _BY_DOMAIN.items() if host.endswith(f".{domain}")), Quirks())


def is_openai(base_url: str) -> bool:
    """Whether OpenAI's own models answer there, rather than one of its many imitators."""
    return quirks_of(base_url) is _OPENAI
