"""Thought signatures on their way: out of a stream, through what is stored, and back on the very part they came on."""

from collections.abc import Sequence

import msgspec

from tertulia.domain.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest, ProviderEvent, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tests.support import histories
from tests.support.asking import ask
from tests.support.gemini_endpoint import Chunk, Finish, GeminiEndpoint, called, said, sign, thought

MODEL = "gemini-3-pro-preview"


def stored(events: Sequence[ProviderEvent]) -> Message:
    """The reply as the engine stores it: neighbouring pieces of one kind are one part, which a signature ends."""
    content: list[Part] = []
    for piece in events:
        last = content[-1] if content else None
        match piece:
            case TextPiece(text, signature):
                if isinstance(last, TextPart) and last.signature is None:
                    content[-1] = TextPart(last.text + text, signature)
                else:
                    content.append(TextPart(text, signature))
            case ReasoningPiece(thought, signature):
                if isinstance(last, ReasoningPart) and last.signature is None:
                    content[-1] = ReasoningPart(last.reasoning + thought, signature=signature)
                else:
                    content.append(ReasoningPart(thought, signature=signature))
            case ToolCallPiece(_, arguments, id_, name, signature):
                content.append(ToolCallPart(id_ or "", name or "", arguments, signature))
            case _:
                pass
    return msgspec.structs.replace(histories.message("assistant", *content), model=f"google_ai/{MODEL}")


async def test_signatures_of_six_turns_come_back_on_their_parts() -> None:
    signed = [
        (Chunk((called("f", {"n": 1}, id_="a", signature=sign("1")), called("g", {"n": 2}, id_="b"))), Finish()),
        (Chunk((called("f", {"n": 1.50}, signature=sign("2")),)), Finish()),
        (*said("Hél"), Finish(parts=({"text": "lo", "thoughtSignature": sign("3")},))),
        (*thought("Hm."), *said("So"), Finish(parts=({"text": "", "thoughtSignature": sign("4")},))),
        (Chunk(({"text": "Hm.", "thought": True, "thoughtSignature": sign("5")},)), *said("Ja"), Finish()),
        (*said("Let me see."), Chunk((called("f", {}, signature=sign("6")),)), Finish()),
    ]
    with GeminiEndpoint() as endpoint:
        endpoint.script(*map(list, signed))
        config = EndpointConfig(name="google_ai", type=BY_PREFIX["google_ai"], base_url=endpoint.url, api_key="AIza")
        provider = GeminiProvider(config)
        history = [histories.message("user", "go")]
        for _ in signed:
            turn = stored(await ask(provider, ModelRequest(model=MODEL, system="s", messages=tuple(history))))
            history.append(turn)
            history += [histories.answer(call.id, name=call.name) for call in turn.tool_calls]
            history.append(histories.message("user", "and then?"))
        await ask(provider, ModelRequest(model=MODEL, system="s", messages=tuple(history)))
        await provider.close()
        assert not endpoint.violations
        assert endpoint.requests[-1].signed == list(endpoint.issued.values())
        assert len(endpoint.issued) == 6
