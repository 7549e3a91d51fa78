"""Bodies of the Chat Completions dialect, checked as the service checks them."""

from typing import Any

import msgspec

from tertulia.domain.messages import Message
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX, COMPATIBLE
from tertulia.ports.provider import ModelRequest
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.chat_adapter import OpenAIChatProvider
from tests.support.openai_requests import find_violations


def provider(at: str) -> OpenAIChatProvider:
    row = BY_PREFIX.get(at, COMPATIBLE)
    return OpenAIChatProvider(EndpointConfig(name=at, type=row, base_url=f"http://127.0.0.1:1/{at}/v1"))


def body_of(*messages: Message, at: str = "v1", **fields: Any) -> dict[str, Any]:
    """The body for a server of the type ``at``, or for one of no particular type."""
    fields = {"model": "gpt-4o", "system": "Be terse.", **fields}
    request = ModelRequest(messages=messages, **fields)
    adapter = provider(at)
    encoded = adapter.encode(request)
    assert adapter.encode(request) == encoded, "kept fragments must not change the bytes"
    body: dict[str, Any] = msgspec.json.decode(encoded)
    assert find_violations(f"/{at}/chat/completions", {"authorization": "Bearer k"}, body) == []
    return body


def settings(**fields: Any) -> ModelSettings:
    return ModelSettings(provider_type="openai", **fields)
