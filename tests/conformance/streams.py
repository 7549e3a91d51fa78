"""The raw bytes of a server-sent event stream, taken apart and checked for form, order and contents."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests.conformance.schema import Json, Problem, find_problems, reference

MESSAGE_SCHEMAS = {
    "system_message": "SystemMessage",
    "user_message": "UserMessage",
    "reasoning_message": "ReasoningMessage",
    "hidden_reasoning_message": "HiddenReasoningMessage",
    "tool_call_message": "ToolCallMessage",
    "tool_return_message": "ToolReturnMessage",
    "assistant_message": "AssistantMessage",
    "approval_request_message": "ApprovalRequestMessage",
    "approval_response_message": "ApprovalResponseMessage",
    "summary_message": "SummaryMessage",
    "event_message": "EventMessage",
}
FRAME_SCHEMAS = MESSAGE_SCHEMAS | {
    "ping": "LettaPing",
    "stop_reason": "LettaStopReason",
    "usage_statistics": "LettaUsageStatistics",
    "error_message": "LettaErrorMessage",
}
# Every ping and message frame begins with these, in this order; its own fields follow.
_SKIPPED = 1000  # numbers that are left out where a run was taken over
COMMON_FIELDS = (
    "id", "date", "name", "message_type", "otid", "sender_id", "step_id", "is_err", "seq_id", "run_id",
)  # fmt: skip
# The letters each kind of frame contributes to the order that is checked below.
_LETTERS = {"ping": "m", "stop_reason": "s", "usage_statistics": "u", "error_message": "e"}
# Messages, why it stopped, what it cost; a failure adds its error.
_COMPLETE_ORDER = re.compile(r"m*su|m*su?eu?|m*s")
_FRAME = re.compile(rb"(?P<event>event: error\n)?data: (?P<data>[^\n]*)\n\n")
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One `data:` line: its JSON, and whether `event: error` stood before it."""

    data: dict[str, Json]
    is_error: bool
    raw: bytes

    @property
    def type(self) -> str:
        return self.data.get("message_type", "")


def parse_frames(body: bytes) -> tuple[list[Frame], list[Problem], bool]:
    """The frames of a stream, what is wrong with its bytes, and whether it ended with `[DONE]`."""
    frames: list[Frame] = []
    problems: list[Problem] = []
    done = body.endswith(DONE)
    rest = body[: -len(DONE)] if done else body
    position = 0
    for match in _FRAME.finditer(rest):
        if match.start() != position:
            problems.append(Problem("stream", "wrong", f"bytes outside a frame: {rest[position : match.start()]!r}"))
        position = match.end()
        frames.append(Frame(json.loads(match["data"]), match["event"] is not None, match["data"]))
    if done and position != len(rest):
        problems.append(Problem("stream", "wrong", f"bytes outside a frame: {rest[position:]!r}"))
    return frames, problems, done


def find_stream_problems(body: bytes, *, complete: bool, resumed: bool = False) -> list[Problem]:
    """Every deviation of a stream.

    `complete` is False for one that was left early, whose end is then not checked; `resumed` is True for one that
    may begin anywhere.
    """
    frames, problems, done = parse_frames(body)
    for index, frame in enumerate(frames):
        problems += _frame_problems(frame, f"frame[{index}]")
    problems += _sequence_problems(frames)
    if frames and frames[0].type != "ping" and not resumed:
        problems.append(Problem("frame[0]", "wrong", f"the first frame is {frames[0].type}, not a ping"))
    order = "".join(_LETTERS.get(frame.type, "m") for frame in frames)
    if complete and not done:
        problems.append(Problem("stream", "missing", "it does not end with [DONE]"))
    if complete and not _COMPLETE_ORDER.fullmatch(order):
        problems.append(Problem("stream", "wrong", f"frames come in the order {[frame.type for frame in frames]}"))
    return problems


def _frame_problems(frame: Frame, path: str) -> list[Problem]:
    schema = FRAME_SCHEMAS.get(frame.type)
    if schema is None:
        return [Problem(path, "wrong", f"unknown message_type {frame.type!r}")]
    # Ours, and the one thing that the contract has no word for: another worker goes on with the run.
    known = {**frame.data, "event_type": "compaction"} if is_resumed(frame) else frame.data
    problems = find_problems(known, reference(schema), path)
    if frame.is_error != (frame.type == "error_message"):
        problems.append(Problem(path, "wrong", "`event: error` belongs before error_message, and nowhere else"))
    if frame.raw != json.dumps(frame.data, separators=(",", ":"), ensure_ascii=False).encode():
        problems.append(Problem(path, "wrong", f"not written as compact JSON in UTF-8: {frame.raw!r}"))
    if frame.type not in {"stop_reason", "usage_statistics", "error_message"}:
        first = tuple(frame.data)[: len(COMMON_FIELDS)]
        if first != COMMON_FIELDS:
            problems.append(Problem(path, "wrong", f"begins with the fields {first}"))
    return problems


def is_resumed(frame: Frame) -> bool:
    return frame.type == "event_message" and frame.data.get("event_type") == "resumed"


def _sequence_problems(frames: list[Frame]) -> list[Problem]:
    """Numbered frames count up by one, but where a run was taken over, and all that name a run name the same."""
    problems: list[Problem] = []
    numbered = [frame for frame in frames if "seq_id" in frame.data and frame.type != "error_message"]
    numbers = [frame.data["seq_id"] for frame in numbered]
    if numbers and numbers != [None] * len(numbers):
        expected = [numbers[0] if isinstance(numbers[0], int) else 1]
        for frame in numbered[1:]:
            expected.append(expected[-1] + (1 + _SKIPPED if is_resumed(frame) else 1))
        if numbers != expected:
            problems.append(Problem("stream", "wrong", f"seq_id goes {numbers}"))
    runs = {frame.data.get("run_id") for frame in numbered}
    if len(runs) > 1 or None in runs:
        problems.append(Problem("stream", "wrong", f"frames name the runs {runs}"))
    return problems
