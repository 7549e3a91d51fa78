"""A Converse reply that came whole, as the events it would have streamed as; does no input or output."""

from typing import Any

import msgspec

Fields = dict[str, Any]


def events_of(reply: Fields) -> list[Fields]:
    """The events that a reply which came whole would have streamed as."""
    events: list[Fields] = []
    output: Fields = reply.get("output") or {}
    message: Fields = output.get("message") or {}
    blocks: list[Fields] = message.get("content") or []
    for index, block in enumerate(blocks):
        events += [{kind: {"contentBlockIndex": index, **fields}} for kind, fields in _streamed(block)]
        events.append({"contentBlockStop": {"contentBlockIndex": index}})
    if "stopReason" in reply:
        events.append({"messageStop": {"stopReason": reply["stopReason"]}})
    events.append({"metadata": {key: reply[key] for key in ("usage", "metrics") if key in reply}})
    return events


def _streamed(block: Fields) -> list[tuple[str, Fields]]:
    """What a block begins with and is filled by; nothing for the kinds that are not known."""
    if (call := block.get("toolUse")) is not None:
        start = {key: call[key] for key in ("toolUseId", "name", "type") if key in call}
        arguments = msgspec.json.encode(call.get("input") or {}).decode()
        return [
            ("contentBlockStart", {"start": {"toolUse": start}}),
            ("contentBlockDelta", {"delta": {"toolUse": {"input": arguments}}}),
        ]
    deltas: list[Fields] = []
    if "text" in block:
        deltas = [{"text": block["text"]}]
    elif (reasoning := block.get("reasoningContent")) is not None:
        parts: Fields = reasoning.get("reasoningText") or reasoning
        deltas = [{"reasoningContent": {key: value}} for key, value in parts.items()]
    elif (cited := block.get("citationsContent")) is not None:
        pieces: list[Fields] = cited.get("content") or []
        citations: list[Fields] = cited.get("citations") or []
        deltas = [{"text": piece["text"]} for piece in pieces if "text" in piece]
        deltas += [{"citation": citation} for citation in citations]
    return [("contentBlockDelta", {"delta": delta}) for delta in deltas]
