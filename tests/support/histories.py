"""Short ways to write messages of a history."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import strategies as st
from msgspec import structs

from tertulia.context.pairing import paired
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import ApprovalPart, Message, Part, Role, TextPart, ToolCallPart, ToolReturnPart

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def message(role: Role, *parts: Part | str) -> Message:
    """A message of one agent and conversation; a bare string is a text part."""
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message(
        id=new_message_id(), agent_id="agent-1", conversation_id="conv-1", role=role, content=content, created_at=NOON
    )


def call(id_: str, name: str = "look", arguments: str = "{}") -> ToolCallPart:
    return ToolCallPart(id_, name, arguments)


def answer(id_: str, content: str = "done", name: str = "look") -> Message:
    return message("tool", ToolReturnPart(tool_call_id=id_, name=name, content=content))


@st.composite
def any_history(draw: st.DrawFn, parts: st.SearchStrategy[Part], writers: Sequence[str | None]) -> list[Message]:
    """Any order of roles, with calls that are answered sooner, later or never; paired, and the user's turn last.

    ``parts`` is what messages are made of beside calls, ``writers`` the models that may have written replies.
    """
    found: list[Message] = []
    open_calls: list[str] = []
    for number in range(draw(st.integers(0, 12))):
        role: Role = draw(st.sampled_from(["user", "assistant", "system", "tool", "approval", "summary"]))
        content = draw(st.lists(parts, max_size=3))
        if role == "assistant":
            calls = [f"call.{number}.{index}" for index in range(draw(st.integers(0, 2)))]
            open_calls += calls
            reply = message(role, *content, *map(call, calls))
            found.append(structs.replace(reply, model=draw(st.sampled_from(writers))))
        elif role == "tool":
            if open_calls:
                answered = draw(st.sampled_from(open_calls))
                open_calls.remove(answered)
                found.append(answer(answered, draw(st.text(max_size=5))))
        elif role == "approval":
            found.append(message(role, ApprovalPart("x", approve=True)))
        else:
            found.append(message(role, *content))
    return [*paired(found), message("user", "go on")]
