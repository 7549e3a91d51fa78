"""The mind that speaks streamGenerateContent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support import gemini_endpoint as gemini
from tests.support.gemini_requests import STAND_IN
from tests.support.mind import SEARCH, Mind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint


class GeminiMind(Mind):
    """Signs the first of its calls, and the last of its words."""

    name = "gemini"
    model = "google_ai/gemini-3-pro-preview"
    settings: ClassVar[dict[str, Any]] = {
        "provider_type": "google_ai",
        "thinking_config": {"include_thoughts": True},
        "temperature": 0.5,
    }

    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        return gemini.GeminiEndpoint()

    def environment(self) -> dict[str, str]:
        return {"GEMINI_BASE_URL": self.endpoint.url, "GEMINI_API_KEY": "key-test"}

    def has_returns(self, request: gemini.GeminiRequest) -> bool:
        return "functionResponse" in request.contents[-1]["parts"][0]

    def calls(self, number: int) -> Sequence[Any]:
        first = gemini.called(SEARCH, {"query": "tea 0"}, signature=self._signature(number))
        second = gemini.called(SEARCH, {"query": "tea 1"})
        said = [*gemini.thought(self.thought(number)), *gemini.said("One moment.")]
        return gemini.reply([*said, gemini.Chunk((first,)), gemini.Chunk((second,))])

    def words(self, number: int) -> Sequence[Any]:
        last: dict[str, Any] = {"text": "", "thoughtSignature": self._signature(number)}
        said = [*gemini.thought(self.thought(number)), *gemini.said("answer ", str(number))]
        return [*said, gemini.Finish(parts=(last,))]

    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        thought, said = gemini.thought(self.thought(number), "more"), gemini.said("Once ", "upon")
        called = gemini.Chunk((gemini.called(SEARCH, {"query": "tea"}, signature=self._signature(number)),))
        return {
            "within a thought": [*thought, gemini.Drop()],
            "within the text": [*thought, *said, gemini.Drop()],
            "after a call": [*thought, called, gemini.Drop()],
            "with an error": [*thought, *said, gemini.Failure(503, "UNAVAILABLE", "The model is overloaded.")],
        }

    def returned(self, request: gemini.GeminiRequest) -> list[Any]:
        return [part["thoughtSignature"] for part in request.signed if part["thoughtSignature"] != STAND_IN]

    def _signature(self, number: int) -> str:
        signature = gemini.sign(f"{self.name} {number} {len(self.issued)}")
        self.issued.append(signature)
        self.marks.append(signature)
        return signature
