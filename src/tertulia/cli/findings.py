"""What a check found: one line of the doctor's report."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "off", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``fail`` is broken, ``warn`` will surprise, ``off`` is not configured. ``text`` says what to change."""

    verdict: Verdict
    subject: str
    text: str
