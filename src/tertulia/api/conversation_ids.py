"""The ids of conversations in paths and queries."""

from typing import Annotated, TypeAlias

from fastapi import Path, Query
from pydantic import AfterValidator

from tertulia.domain.ids import MAX_CONVERSATION_ID_LENGTH

_DESCRIPTION = "A conversation's id, or `default` with an `agent_id`. (An agent's id also works, and is deprecated.)"


def _check_length(conversation_id: str) -> str:
    # An agent's id is one character longer than the longest id of a conversation.
    longest = MAX_CONVERSATION_ID_LENGTH + conversation_id.startswith("agent-")
    if len(conversation_id) > longest:
        message = f"has at most {MAX_CONVERSATION_ID_LENGTH} characters"
        raise ValueError(message)
    return conversation_id


def _check_optional(conversation_id: str | None) -> str | None:
    return None if not conversation_id else _check_length(conversation_id)


ConversationId: TypeAlias = Annotated[
    str, Path(description=_DESCRIPTION, json_schema_extra={"maxLength": 42}), AfterValidator(_check_length)
]
ConversationFilter: TypeAlias = Annotated[
    str | None, Query(description=_DESCRIPTION, json_schema_extra={"maxLength": 42}), AfterValidator(_check_optional)
]
