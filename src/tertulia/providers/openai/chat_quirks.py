"""Where servers of the Chat Completions dialect depart from their fellows, beside their settings. A table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tertulia.domain.provider_types import ProviderType
from tertulia.providers.endpoint import type_at
from tertulia.providers.openai.chat_settings import CHAT, OPENAI, RULES
from tertulia.providers.setting_rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How a server is spoken to.

    ``rules`` say what becomes of settings. ``reasoning_back`` is how reasoning goes back to the provider that wrote it:
    not at all; as ``content`` of its own where there is any, or ``always``, with a space where there is none; or as the
    ``details`` it came in. ``cache_key`` servers take ``prompt_cache_key``, those with ``usage_option`` are asked to
    tell the usage, those with ``speakers`` take the names of who speaks. ``call_ids`` says which ids of tool calls they
    take. ``imitates`` OpenAI: its models may be behind a server that is nobody's in particular.
    """

    rules: Rules = field(default_factory=lambda: CHAT)
    reasoning_back: Literal["no", "content", "always", "details"] = "no"
    cache_key: bool = False
    usage_option: bool = True
    speakers: bool = True
    call_ids: Literal["any", "nine"] = "any"
    imitates: bool = False


_OPENAI: Final = Quirks(rules=OPENAI, cache_key=True)
_UNKNOWN: Final = Quirks(imitates=True)
# Their models that think refuse a history in which an answer of theirs has no reasoning, and an empty one, too.
_THINKS: Final = Quirks(reasoning_back="always")

_BY_TYPE: Final[Mapping[str, Quirks]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "deepseek": _THINKS,
    "moonshot": _THINKS,
    "zai": Quirks(reasoning_back="content"),
    "zai_coding": Quirks(reasoning_back="content"),
    "openrouter": Quirks(reasoning_back="details"),
    # It refuses every parameter it does not know, and tool calls whose ids are not nine letters or digits.
    "mistral": Quirks(usage_option=False, speakers=False, call_ids="nine"),
}


def quirks_of(row: ProviderType, base_url: str) -> Quirks:
    """Those of the type; of an endpoint that is of no particular one, those of the host that answers."""
    name = row.name or type_at(base_url)
    quirks = _BY_TYPE.get(name, _UNKNOWN if not name else Quirks())
    return replace(quirks, rules=RULES.get(name, CHAT))
