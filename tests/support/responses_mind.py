"""The mind that speaks Responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support import responses_endpoint as responses
from tests.support.mind import SEARCH, Mind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint


class ResponsesMind(Mind):
    """Encrypts its reasoning, with a summary that may be seen."""

    name = "responses"
    model = "openai/o3-mini"
    settings: ClassVar[dict[str, Any]] = {"provider_type": "openai", "reasoning": {"reasoning_effort": "high"}}

    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        return responses.ResponsesEndpoint()

    def environment(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": self.endpoint.url, "OPENAI_API_KEY": "sk-test"}

    def has_returns(self, request: responses.ResponsesRequest) -> bool:
        return request.input[-1]["type"] == "function_call_output"

    def calls(self, number: int) -> Sequence[Any]:
        called = [responses.called(2 + i, f"call_{number}_{i}", SEARCH, {"query": f"tea {i}"}) for i in (0, 1)]
        return responses.reply(self._thought(number), responses.said(1, "One moment."), *called)

    def words(self, number: int) -> Sequence[Any]:
        return responses.reply(self._thought(number), responses.said(1, "answer ", str(number)))

    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        thought, said = self._thought(number), responses.said(1, "Once ", "upon")[:-2]
        called = responses.called(1, f"call_{number}", SEARCH, {"query": "tea"})
        return {
            "within a thought": [*thought[:-2], responses.Drop()],
            "after a thought": [*thought, responses.Drop()],
            "within the text": [*thought, *said, responses.Drop()],
            "within a call": [*thought, *called[:2], responses.Drop()],
            "before the end": [*thought, *called, responses.Drop()],
            "with an error": [*thought, *said, responses.Failure("server_error", "it broke")],
            "with an error event": [*said, responses.Failure("server_error", "it broke", as_event=True)],
        }

    def returned(self, request: responses.ResponsesRequest) -> list[Any]:
        return request.items("reasoning")

    def _thought(self, number: int) -> responses.Reply:
        id_, words = f"rs_{number}", self.thought(number)
        item = responses.reasoning_item(id_, words)
        self.issued.append(item)
        self.marks.append(item["encrypted_content"][:20])
        return responses.thought(0, id_, words)
