"""What a provider says that it sends of a message is what it sends: tokens are counted by it."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from tertulia.domain.messages import (
    ApprovalPart,
    CitationsPart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    ReasoningSummary,
    RedactedReasoningPart,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest
from tertulia.providers.adapter import Adapter
from tertulia.providers.adapters import make_adapter
from tertulia.providers.endpoint import EndpointConfig
from tests.support.histories import message

MODELS = (
    "openai/gpt-4o-mini",
    "openai/gpt-5",
    "deepseek/deepseek-chat",
    "openrouter/some/model",
    "zai/glm-4.6",
    "mistral/mistral-large",
    "anthropic/claude-sonnet-4-5",
    "google_ai/gemini-2.5-flash",
    "google_ai/gemini-3-pro",
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/amazon.nova-pro-v1:0",
)


def provider_of(handle: str) -> Adapter:
    prefix = handle.partition("/")[0]
    options = {"region": "us-east-1", "access_key": "AK", "secret_key": "s"} if prefix == "bedrock" else {}
    config = EndpointConfig(
        name=prefix, type=BY_PREFIX[prefix], base_url="http://127.0.0.1:1/v1", api_key="key", options=options
    )
    return make_adapter(config)


def reply_parts(provider_type: str) -> Iterator[tuple[str, Part]]:
    """Every kind of part a reply may hold, each with a word of its own that shows where it went."""
    yield "reasoned", ReasoningPart("reasoned")
    yield "signed", ReasoningPart("signed", signature="c2ln")
    yield "redacted", RedactedReasoningPart("redacted")
    yield "sealed", SummarizedReasoningPart("rs_1", (ReasoningSummary(0, "words"),), encrypted_content="sealed")
    yield "omitted", OmittedReasoningPart("omitted")
    item: dict[str, Any] = {"type": "reasoning", "id": "rs_2", "encrypted_content": "native", "summary": []}
    yield "native", NativePart(provider_type, item)
    yield "foreign", NativePart("another", {"type": "reasoning", "encrypted_content": "foreign"})
    details = [{"type": "reasoning.text", "text": "detailed"}]
    yield "detailed", NativePart(provider_type, {"reasoning_details": details, "type": "reasoning"})
    yield "spoken", TextPart("spoken")
    yield "cited", CitationsPart(({"cited": "cited"},))
    yield "argued", ToolCallPart("call_1", "look", '{"q": "argued"}')


def in_request(provider: Adapter, model: str, messages: list[Message], word: str) -> bool:
    settings = ModelSettings(provider_type=provider.config.type.settings_types[0], max_output_tokens=100)
    body = provider.encode(ModelRequest(model=model, system="", messages=messages, settings=settings))
    return word.encode() in body


@pytest.mark.parametrize("wrote", ["this", "another", "nobody"])
@pytest.mark.parametrize("handle", MODELS)
def test_of_a_reply_the_parts_are_sent_that_it_says(handle: str, wrote: str) -> None:
    provider, model = provider_of(handle), handle.partition("/")[2]
    writer = {"this": handle, "another": "elsewhere/model", "nobody": None}[wrote]
    words = dict(reply_parts(provider.provider_type))
    reply = structs.replace(message("assistant", *words.values()), model=writer)
    answer = message("tool", ToolReturnPart("call_1", "look", "returned"))
    sent = provider.parts_sent(model, reply)
    for word, part in words.items():
        assert (part in sent) == in_request(provider, model, [reply, answer], word), word
    assert words["spoken"] in sent
    assert words["argued"] in sent


@pytest.mark.parametrize("handle", MODELS)
def test_of_reasoning_alone_nothing_is_counted_that_is_not_sent(handle: str) -> None:
    provider, model = provider_of(handle), handle.partition("/")[2]
    thought = message("assistant", ReasoningPart("reasoned", signature="c2ln"))
    reply = structs.replace(thought, model=handle, partial=True)
    assert bool(provider.parts_sent(model, reply)) == in_request(provider, model, [reply], "reasoned")


@pytest.mark.parametrize("handle", MODELS)
def test_all_of_what_others_say_is_sent_and_nothing_of_an_approval(handle: str) -> None:
    provider, model = provider_of(handle), handle.partition("/")[2]
    asked = message("user", TextPart("asked"))
    assert list(provider.parts_sent(model, asked)) == [*asked.content]
    assert not provider.parts_sent(model, message("approval", ApprovalPart("call_1", approve=True)))
