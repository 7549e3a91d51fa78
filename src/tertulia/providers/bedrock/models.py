"""What families of models behind Bedrock's Converse take of it, by the model's id. A table, no behaviour.

Converse is one shape for models of many makers, and refuses what a model has no use for.
"""

import re
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One maker's models.

    ``caches`` take cache points, with ``caches_results`` also right after the result of a tool. ``forces`` are the
    members of ``toolChoice`` beside ``auto``. ``own_tool_choice`` models take Anthropic's ``tool_choice`` in
    ``additionalModelRequestFields``, which says more than Converse can. ``rich_results`` may hold images and a status.
    ``signs_as`` is what models that sign their reasoning, and want it back, have in common; empty where they do not.
    """

    name: str
    caches: bool = False
    caches_results: bool = False
    forces: frozenset[str] = frozenset()
    own_tool_choice: bool = False
    rich_results: bool = False
    signs_as: str = ""


_CLAUDE: Final = Family(
    name="claude",
    caches=True,
    caches_results=True,
    forces=frozenset({"any", "tool"}),
    own_tool_choice=True,
    rich_results=True,
    signs_as="claude",
)
# Those before 4.5, of which it is not known that they take their own choice of tools here; once they refused it.
_OLDER_CLAUDE: Final = replace(_CLAUDE, name="older claude", own_tool_choice=False)
# Those from before there was a prompt cache.
_FIRST_CLAUDE: Final = replace(_OLDER_CLAUDE, name="first claude", caches=False, caches_results=False)
_NOVA: Final = Family(name="nova", caches=True, forces=frozenset({"any", "tool"}), rich_results=True, signs_as="nova")
_MISTRAL_LARGE: Final = Family(name="mistral large", forces=frozenset({"any"}))
_OTHER: Final = Family(name="other")

# A pattern anywhere in the id, which may have a region before it or stand at the end of an ARN. The first match counts.
_FAMILIES: Final = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"anthropic\.claude-(?:v\d|instant|3-(?!7|5-haiku))", _FIRST_CLAUDE),
        (r"anthropic\.claude-(?:3-|[a-z]+-4-(?:[01]-|\d{8}))", _OLDER_CLAUDE),
        (r"anthropic\.claude-", _CLAUDE),
        (r"amazon\.nova-", _NOVA),
        (r"mistral\.(?:mistral|pixtral)-large", _MISTRAL_LARGE),
    )
)


def family_of(model: str) -> Family:
    return next((family for pattern, family in _FAMILIES if pattern.search(model)), _OTHER)
