"""What is said of the models of an endpoint."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tertulia.domain.errors import ProviderUnreachable
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.providers import model_list
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_facts import can_chat, embedding_dimensions, known_windows
from tertulia.providers.model_list import Listed, ModelList, decode_models

BOX = EndpointConfig(name="box", base_url="http://127.0.0.1:1/v1")
OPENAI = EndpointConfig(name="openai", type=BY_PREFIX["openai"], base_url="https://api.openai.com/v1")


class FarEnd:
    """What GET /models gives, and how often it was asked."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows
        self.down = False
        self.asked = 0

    async def __call__(self) -> list[Listed]:
        self.asked += 1
        if self.down:
            raise ProviderUnreachable("down")
        return decode_models(msgspec.json.encode({"object": "list", "data": self.rows}))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(model_list, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("row", "window"),
    [
        ({"id": "mystery", "max_model_len": 4096}, 4096),
        ({"id": "mystery", "context_length": 4096}, 4096),
        ({"id": "mystery", "context_window": 4096.0}, 4096),
        ({"id": "mystery", "meta": {"n_ctx_train": 32768, "n_ctx": 4096}}, 4096),
        ({"id": "mystery", "meta": {"n_ctx_train": 4096}}, 4096),
        ({"id": "gpt-4o", "max_model_len": 4096}, 4096),
        ({"id": "gpt-4o"}, 128_000),
        ({"id": "mystery"}, 32_000),
        ({"id": "mystery", "context_length": None, "meta": None}, 32_000),
        ({"id": "mystery", "max_context_length": 4096, "capabilities": {"completion_chat": True}}, 4096),
        ({"id": "mystery", "providers": [{"context_length": 8192}, {"provider": "x"}, {"context_length": 4096}]}, 4096),
        ({"id": "my-deployment", "model": "gpt-4o", "status": "succeeded"}, 128_000),
    ],
)
async def test_the_window_is_what_the_endpoint_says_else_what_is_known_else_a_guess(
    row: dict[str, Any], window: int
) -> None:
    [card] = await ModelList(BOX, FarEnd(row)).models()
    assert card.context_window == window


@pytest.mark.parametrize(
    "row",
    [
        {"id": "mystery", "max_completion_tokens": 77},
        {"id": "mystery", "max_output_tokens": 77},
        {"id": "mystery", "top_provider": {"max_completion_tokens": 77, "context_length": 9}},
    ],
)
async def test_the_longest_reply_is_what_the_endpoint_says(row: dict[str, Any]) -> None:
    [card] = await ModelList(BOX, FarEnd(row)).models()
    assert card.max_output_tokens == 77


async def test_what_does_other_work_than_chatting_is_not_offered() -> None:
    rows = [
        {"id": "a", "type": "chat"},
        {"id": "b", "type": "image"},
        {"id": "c", "capabilities": {"completion_chat": False}},
        {"id": "d", "supports_chat": False},
        {"id": "e", "capabilities": ["chat"], "supports_chat": True},
        {"id": "grok-imagine-image"},
        {"id": "mistral-ocr-latest"},
    ]
    assert [card.name for card in await ModelList(BOX, FarEnd(*rows)).models()] == ["a", "e"]


async def test_the_list_is_asked_for_once_in_a_while(clock: Clock) -> None:
    far_end = FarEnd({"id": "a"})
    models = ModelList(BOX, far_end)
    for _ in range(3):
        assert [card.handle for card in await models.models()] == ["box/a"]
        await models.embeddings()
    assert far_end.asked == 1
    clock.now += 1000
    await models.models()
    assert far_end.asked == 2


async def test_an_endpoint_that_is_down_keeps_what_it_had_and_is_reported_once(clock: Clock) -> None:
    far_end = FarEnd({"id": "a"})
    models = ModelList(BOX, far_end)
    await models.models()
    far_end.down = True
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += 1000
            assert [card.handle for card in await models.models()] == ["box/a"]
    assert [entry["log_level"] for entry in logs] == ["warning"]
    far_end.down = False
    far_end.rows = ({"id": "b"},)
    clock.now += 1000
    assert [card.handle for card in await models.models()] == ["box/b"]


async def test_models_that_were_configured_are_the_ones_on_offer() -> None:
    config = EndpointConfig(name="box", base_url="http://127.0.0.1:1/v1", models=("x", "y"))
    far_end = FarEnd({"id": "a"})
    far_end.down = True
    assert [card.name for card in await ModelList(config, far_end).models()] == ["x", "y"]


async def test_of_openais_list_only_what_chats_is_offered() -> None:
    names = [
        "gpt-4o", "gpt-5-mini", "o3-mini", "chatgpt-4o-latest", "ft:gpt-4o-mini:org::id", "o1-pro", "gpt-5-codex",
        "codex-mini-latest",
        "whisper-1", "tts-1", "dall-e-3", "text-embedding-3-small", "gpt-4o-audio-preview", "gpt-image-1",
        "gpt-4o-realtime-preview", "omni-moderation-latest", "babbage-002", "gpt-3.5-turbo-instruct", "sora-2",
    ]  # fmt: skip
    cards = await ModelList(OPENAI, FarEnd(*({"id": name} for name in names))).models()
    assert [card.name for card in cards] == names[:8]


async def test_embedding_models_are_listed_apart_with_their_dimensions() -> None:
    names = ("text-embedding-3-large", "text-embedding-3-small", "gpt-4o", "text-embedding-unheard-of")
    models = ModelList(OPENAI, FarEnd(*({"id": name} for name in names)))
    assert [(card.handle, card.dimensions) for card in await models.embeddings()] == [
        ("openai/text-embedding-3-large", 3072),
        ("openai/text-embedding-3-small", 1536),
    ]
    assert [card.name for card in await models.models()] == ["gpt-4o"]


@pytest.mark.parametrize(
    "body", [b'{"object":"list","data":[{"id":"a"}]}', b' [{"id": "a", "new": 1}]', b'{"data":[{"id":"a","meta":{}}]}']
)
def test_lists_of_models_come_in_two_shapes(body: bytes) -> None:
    assert [row.id for row in decode_models(body)] == ["a"]


def test_no_list_is_no_models() -> None:
    assert decode_models(b'{"object":"list","data":null}') == []


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("gpt-4o", 128_000),
        ("gpt-4o-mini-2024-07-18", 128_000),
        ("gpt-4.1-nano", 1_047_576),
        ("gpt-5-mini", 400_000),
        ("gpt-5.1", 400_000),
        ("gpt-5-chat-latest", 128_000),
        ("gpt-4", 8_192),
        ("gpt-4-turbo", 128_000),
        ("gpt-3.5-turbo", 16_385),
        ("gpt-oss:20b", 131_072),
        ("o1-mini", 128_000),
        ("o3", 200_000),
        ("o4-mini", 200_000),
        ("meta-llama/Llama-3.3-70B-Instruct", 131_072),
        ("llama3.1:8b", 131_072),
        ("llama3:8b", 8_192),
        ("Qwen/Qwen3-8B", 40_960),
        ("mistralai/Mistral-Small-24B", 128_000),
        ("ft:gpt-4o-mini:org::id", 128_000),
        ("gpt-6-sol", 1_050_000),
        ("gpt-5.4", 1_050_000),
        ("gpt-5.3-codex-spark", 128_000),
        ("gemini-3.8-flash", 1_048_576),
        ("deepseek-v4-pro", 1_000_000),
        ("deepseek-ai/DeepSeek-V3.1", 131_072),
        ("kimi-k3", 1_048_576),
        ("moonshotai/Kimi-K2.6", 262_144),
        ("MiniMax-M2.5", 204_800),
        ("glm-5.3", 1_000_000),
        ("glm-4.7", 200_000),
        ("glm-4.5-air", 131_072),
        ("grok-4-1-fast", 2_000_000),
        ("grok-4.3", 1_000_000),
        ("grok-4.7", 500_000),
        ("grok-4", 256_000),
        ("grok-code-fast-1", 256_000),
        ("Qwen/Qwen3.5-397B-A17B", 262_144),
        ("mistral-large-2512", 262_144),
        ("mistral-large-2411", 128_000),
        ("gemma-4-31b-it", 262_144),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
    ],
)
def test_well_known_models_have_their_window(name: str, window: int) -> None:
    known = known_windows(name)
    assert known is not None
    assert known[0] == window


def test_unknown_names_are_known_to_be_unknown() -> None:
    assert known_windows("mystery") is None
    assert embedding_dimensions("mystery") is None
    assert can_chat("mystery", at_openai=False)
    assert not can_chat("mystery", at_openai=True)
