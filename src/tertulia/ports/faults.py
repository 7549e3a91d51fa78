"""Points of a run at which tests let the process die. In production nothing happens at them."""

from collections.abc import Callable
from typing import Literal, TypeAlias

Point: TypeAlias = Literal[
    "before_model_call",
    "during_stream",
    "before_reply_stored",
    "after_reply_stored",
    "call_noted",
    "during_call",
    "between_calls",
    "after_answer_stored",
    "during_compaction",
    "during_fork",
    "before_end_stored",
    "after_end_stored",
]

Faults: TypeAlias = Callable[[Point], None]


def no_faults(point: Point) -> None:
    """Nothing happens."""
