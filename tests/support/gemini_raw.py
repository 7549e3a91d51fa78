"""Chunks of the Gemini dialect as bytes, for tests that cut them where they please."""

from typing import Any, Final

import msgspec


def event(**fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\r\n\r\n"


def parts(*several: dict[str, Any], **fields: Any) -> bytes:
    """A chunk with these parts; `fields` are more of the candidate's."""
    return event(candidates=[{"content": {"parts": list(several), "role": "model"}, "index": 0, **fields}])


def said(text: str, **fields: Any) -> bytes:
    return parts({"text": text}, **fields)


def stopped(reason: str = "STOP", **counts: Any) -> bytes:
    return event(
        candidates=[{"finishReason": reason, "index": 0}],
        usageMetadata=counts or {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
        responseId="resp_1",
    )


WHOLE: Final = (said("Hél"), said("lo"), stopped())
