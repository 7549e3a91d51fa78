"""Identifiers: a prefix that names the noun and a version 4 UUID, as the API shows them."""

from typing import Final
from uuid import UUID, uuid4, uuid5

MAX_CONVERSATION_ID_LENGTH: Final = 41
"""Length of ``conv-`` and a UUID; the API refuses longer ones with 422."""

DEFAULT_CONVERSATION: Final = "default"
"""The wire id of an agent's own conversation; it is stored under the agent's id."""

_UUID_VERSION: Final = len("tool-00000000-0000-")
_TOOL_NAMESPACE: Final = UUID("6f2f1c3e-4f0b-4a51-9a39-0d9e0d9d5f10")


def new_id(kind: str) -> str:
    return f"{kind}-{uuid4()}"


def new_agent_id() -> str:
    return f"agent-{uuid4()}"


def new_block_id() -> str:
    return f"block-{uuid4()}"


def new_conversation_id() -> str:
    return f"conv-{uuid4()}"


def new_log_id() -> str:
    return f"log-{uuid4()}"


def new_message_id() -> str:
    return f"message-{uuid4()}"


def new_provider_id() -> str:
    return f"provider-{uuid4()}"


def new_run_id() -> str:
    return f"run-{uuid4()}"


def new_step_id() -> str:
    return f"step-{uuid4()}"


def new_tool_call_id() -> str:
    return f"call_{uuid4().hex}"


def builtin_tool_id(name: str) -> str:
    """The id of a built-in tool: the same on every server and after every restart."""
    return f"tool-{uuid5(_TOOL_NAMESPACE, name)}"


def is_builtin_tool_id(tool_id: str) -> bool:
    """Whether it can be a built-in tool's, by the version of its UUID: those that users make are random."""
    return tool_id[_UUID_VERSION : _UUID_VERSION + 1] == "5"


def part_otid(message_id: str, index: int) -> str:
    """The ``otid`` of the index-th wire message that one stored message becomes.

    It is the message's UUID with its last two digits replaced by the index, so the deltas of a
    stream and a later listing of the same message agree without anything being stored.
    """
    return f"{message_id.removeprefix('message-')[:-2]}{index & 0xFF:02x}"
