"""The mind that speaks Converse."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support import bedrock_endpoint as bedrock
from tests.support.mind import SEARCH, Mind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint


class BedrockMind(Mind):
    """Signs its reasoning; every third piece of it is redacted."""

    name = "bedrock"
    model = f"bedrock/{bedrock.MODEL}"
    settings: ClassVar[dict[str, Any]] = {"provider_type": "bedrock", "max_output_tokens": 8000}

    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        return bedrock.BedrockEndpoint()

    def environment(self) -> dict[str, str]:
        return {
            "BEDROCK_BASE_URL": self.endpoint.url,
            "AWS_ACCESS_KEY_ID": bedrock.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": bedrock.SECRET_KEY,
        }

    def has_returns(self, request: bedrock.ConverseRequest) -> bool:
        return "toolResult" in request.messages[-1]["content"][0]

    def calls(self, number: int) -> Sequence[Any]:
        called = [bedrock.called(2 + i, f"tooluse_{number}_{i}", SEARCH, {"query": f"tea {i}"}) for i in (0, 1)]
        return bedrock.reply(self._hidden(number), bedrock.said(1, "One moment."), *called, reason="tool_use")

    def words(self, number: int) -> Sequence[Any]:
        return bedrock.reply(self._thought(number), self._thought(number, 1), bedrock.said(2, f"answer {number}"))

    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        thought, said = self._hidden(number), bedrock.said(1, "Once ", "upon")[:-1]
        called = bedrock.called(2, f"tooluse_{number}", SEARCH, {"query": "tea"})
        return {
            "within a thought": [*thought[:1], bedrock.Drop()],
            "after a thought": [*thought, bedrock.Drop()],
            "within the text": [*thought, *said, bedrock.Drop()],
            "within a call": [*thought, *called[:2], bedrock.Drop()],
            "before the end": [*thought, *called, bedrock.Drop()],
            "with an error": [*thought, *said, bedrock.Failure("serviceUnavailableException", "busy")],
        }

    def returned(self, request: bedrock.ConverseRequest) -> list[Any]:
        return request.blocks("reasoningContent")

    def _hidden(self, number: int) -> bedrock.Reply:
        if number % 3:
            return self._thought(number)
        data = self.seal(number).encode()
        encoded = b64encode(data).decode()
        self.marks.append(encoded)
        self.issued.append({"redactedContent": encoded})
        return bedrock.redacted(0, data)

    def _thought(self, number: int, index: int = 0) -> bedrock.Reply:
        words = f"{self.thought(number)} {index}"
        signature = bedrock.sign(words)
        self.issued.append({"reasoningText": {"text": words, "signature": signature}})
        self.marks.append(signature)
        return bedrock.thought(index, words[:5], words[5:])
