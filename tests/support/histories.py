"""Short ways to write messages of a history."""

from datetime import UTC, datetime

from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message, Part, Role, TextPart, ToolCallPart, ToolReturnPart

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
