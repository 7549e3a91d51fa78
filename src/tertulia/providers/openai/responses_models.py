"""Which of OpenAI's models are asked over the Responses API. The one place that says so."""

import re
from typing import Final

# They keep their reasoning from turn to turn over Responses alone, and some are served there only. Those of the same
# families that are left out chat as the older models do, or are for other work.
_REASONS: Final = re.compile(
    r"(?:ft:)?(?:o[2-9]|o1(?!-mini|-preview)|gpt-[5-9]|gpt-\d\d|codex)(?=[-.:]|$)"
    r"(?!.*-(?:chat|search|audio|realtime|image|transcribe|tts))",
    re.IGNORECASE,
)


def speaks_responses(model: str) -> bool:
    """Whether it is the exact name of one of OpenAI's models that reason."""
    return _REASONS.match(model) is not None
