"""Events of the Messages dialect as bytes, for tests that cut them where they please."""

from typing import Any, Final

import msgspec


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def begun(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **fields})


def filled(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": f"{kind}_delta", **fields})


def ended(index: int) -> bytes:
    return event("content_block_stop", index=index)


def stopped(reason: str = "end_turn", **usage: Any) -> bytes:
    return event(
        "message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage or {"output_tokens": 2}
    )


START: Final = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": {"input_tokens": 3},
    },
)
STOP: Final = event("message_stop")
PING: Final = event("ping")
WHOLE: Final = (
    START,
    PING,
    begun(0, "text", text=""),
    filled(0, "text", text="Hél"),
    filled(0, "text", text="lo"),
    ended(0),
    stopped(),
    STOP,
)
