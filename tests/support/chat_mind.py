"""The mind that speaks Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support import openai_endpoint as chat
from tests.support.mind import SEARCH, Mind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint


class ChatMind(Mind):
    """Thinks aloud, and is not given it back."""

    name = "chat"
    model = "vllm/qwen3"
    settings: ClassVar[dict[str, Any]] = {"provider_type": "openai", "temperature": 0.5}

    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        return chat.OpenAIEndpoint()

    def environment(self) -> dict[str, str]:
        return {"VLLM_API_BASE": self.endpoint.url, "VLLM_API_KEY": "sk-test"}

    def has_returns(self, request: chat.ChatRequest) -> bool:
        return request.messages[-1]["role"] == "tool"

    def calls(self, number: int) -> Sequence[Any]:
        # The ids are of a form that no other dialect takes.
        called = [
            chat.call(SEARCH, {"query": f"tea {index}"}, f"functions.{SEARCH}:{index}.{number}") for index in (0, 1)
        ]
        return [chat.Send({"reasoning_content": self.thought(number)}), *chat.calls(*called, say="One moment.")]

    def words(self, number: int) -> Sequence[Any]:
        return chat.think(self.thought(number), answer=f"answer {number}")

    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        thought = chat.Send({"reasoning_content": self.thought(number)})
        called = self.calls(number)
        return {
            "within a thought": [thought, chat.Drop()],
            "within the text": [thought, chat.Send({"content": "Once"}), chat.Drop()],
            "within a call": [*called[:-2], chat.Drop()],
            "before the end": [*called[:-1], chat.Drop()],
            "with an error": [
                chat.Send({"content": "Once"}),
                chat.Raw(b'data: {"error": {"message": "down", "code": 500}}\n\n'),
            ],
        }

    def returned(self, request: chat.ChatRequest) -> list[Any]:
        return []
