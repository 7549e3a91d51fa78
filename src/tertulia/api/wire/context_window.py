"""``ContextWindowOverview`` of the API: the context window in pairs of a part and its tokens."""

from typing import Any

import msgspec
from pydantic import BaseModel

from tertulia.domain.tools import ToolSpec
from tertulia.engine.lifecycle.context_window import ContextWindow


class ContextWindowBody(BaseModel):
    """Parts that are not there are 0 tokens and null. ``context_window_size_max`` is 0 where the model is gone."""

    context_window_size_max: int
    context_window_size_current: int
    num_messages: int
    num_archival_memory: int = 0
    num_recall_memory: int
    num_tokens_external_memory_summary: int
    external_memory_summary: str
    num_tokens_system: int
    system_prompt: str
    num_tokens_core_memory: int
    core_memory: str | None
    num_tokens_memory_filesystem: int = 0
    memory_filesystem: str | None = None
    num_tokens_tool_usage_rules: int = 0
    tool_usage_rules: str | None = None
    num_tokens_directories: int = 0
    directories: str | None = None
    num_tokens_summary_memory: int
    summary_memory: str | None
    num_tokens_functions_definitions: int
    functions_definitions: list[dict[str, Any]] | None
    num_tokens_messages: int
    messages: list[dict[str, Any]]


def context_window_body(window: ContextWindow) -> ContextWindowBody:
    return ContextWindowBody(
        context_window_size_max=window.size,
        context_window_size_current=window.current,
        num_messages=len(window.messages),
        num_recall_memory=window.recalled,
        num_tokens_external_memory_summary=window.metadata_tokens,
        external_memory_summary=window.prompt.metadata,
        num_tokens_system=window.instructions_tokens,
        system_prompt=window.prompt.instructions,
        num_tokens_core_memory=window.memory_tokens,
        core_memory=window.prompt.memory or None,
        num_tokens_summary_memory=window.summary_tokens,
        summary_memory=window.summary,
        num_tokens_functions_definitions=window.tools_tokens,
        functions_definitions=[_function(tool) for tool in window.tools] or None,
        num_tokens_messages=window.messages_tokens,
        messages=[msgspec.to_builtins(message) for message in window.messages],
    )


def _function(tool: ToolSpec) -> dict[str, Any]:
    described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": described}
