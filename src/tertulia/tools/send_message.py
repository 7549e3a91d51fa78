"""``send_message``: how agents of the old kinds speak to the user; newer ones just reply."""

from typing import Annotated

from msgspec import Meta, Struct

from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool


class SendArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    message: Annotated[str, Meta(description="The message; it may hold any characters.")]


async def _send(_arguments: SendArguments, _context: ToolContext) -> str:
    # The call itself is the message: readers show it as one.
    return "Sent."


SEND_MESSAGE = BuiltinTool(
    "send_message", "Send a message to the user.", SendArguments, _send, idempotent=True, parallel=True
)
