"""The mind that speaks Messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support import anthropic_endpoint as anthropic
from tests.support.mind import SEARCH, Mind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint


class AnthropicMind(Mind):
    """Signs its thinking; every third thought is redacted."""

    name = "anthropic"
    model = "anthropic/claude-sonnet-4-5"
    settings: ClassVar[dict[str, Any]] = {
        "provider_type": "anthropic",
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "max_output_tokens": 8000,
    }

    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        return anthropic.AnthropicEndpoint()

    def environment(self) -> dict[str, str]:
        return {"ANTHROPIC_BASE_URL": self.endpoint.url, "ANTHROPIC_API_KEY": "sk-ant-test"}

    def has_returns(self, request: anthropic.MessagesRequest) -> bool:
        return request.messages[-1]["content"][0]["type"] == "tool_result"

    def calls(self, number: int) -> Sequence[Any]:
        called = [anthropic.called(2 + i, f"toolu_{number}_{i}", SEARCH, {"query": f"tea {i}"}) for i in (0, 1)]
        return anthropic.reply(self._hidden(number), anthropic.said(1, "One moment."), *called, reason="tool_use")

    def words(self, number: int) -> Sequence[Any]:
        return anthropic.reply(self._thought(number), self._thought(number, 1), anthropic.said(2, f"answer {number}"))

    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        thought, said = self._hidden(number), anthropic.said(1, "Once ", "upon")[:-1]
        called = anthropic.called(2, f"toolu_{number}", SEARCH, {"query": "tea"})
        return {
            "within a thought": [*thought[:2], anthropic.Drop()],
            "after a thought": [*thought, anthropic.Drop()],
            "within the text": [*thought, *said, anthropic.Drop()],
            "within a call": [*thought, *called[:2], anthropic.Drop()],
            "before the end": [*thought, *called, anthropic.Drop()],
            "with an error": [*thought, *said, anthropic.Failure("overloaded_error", "Overloaded")],
        }

    def returned(self, request: anthropic.MessagesRequest) -> list[Any]:
        blocks = [block for message in request.messages for block in message["content"]]
        return [block for block in blocks if block["type"] in {"thinking", "redacted_thinking"}]

    def _hidden(self, number: int) -> anthropic.Reply:
        if number % 3:
            return self._thought(number)
        data = self.seal(number)
        self.issued.append({"type": "redacted_thinking", "data": data})
        return anthropic.redacted(0, data)

    def _thought(self, number: int, index: int = 0) -> anthropic.Reply:
        words = f"{self.thought(number)} {index}"
        signature = anthropic.sign(words)
        self.issued.append({"type": "thinking", "thinking": words, "signature": signature})
        self.marks.append(signature)
        return anthropic.thought(index, words[:5], words[5:])
