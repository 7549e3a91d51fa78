"""Tools that tests offer to models."""

from tertulia.domain.tools import ToolSpec

SEARCH = ToolSpec(
    id="tool-1",
    name="search",
    description="Finds things.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
    },
    tool_type="letta_core",
)
ANYTHING = ToolSpec(
    id="tool-2",
    name="anything",
    description="Takes any object.",
    parameters={"type": "object", "properties": {}, "additionalProperties": True},
    tool_type="custom",
)
"""It has no strict form."""
