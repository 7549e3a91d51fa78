"""Models that stand in for one that cannot answer now. Ours alone; the SDK passes the field on."""

from typing import Any

import pytest
from letta_client import BadRequestError, Letta
from letta_client.types import Conversation

from tests.conformance.helpers import MODEL, MakeAgent, answer, send
from tests.conformance.requirements import requirement
from tests.support.anthropic_endpoint import AnthropicEndpoint, Refuse
from tests.support.openai_endpoint import OpenAIEndpoint, text

CLAUDE = "anthropic/claude-sonnet-4-5"


@requirement("fallback.another-model-answers")
@pytest.mark.parametrize("of_conversation", [True, False], ids=["conversation", "agent"])
def test_another_model_stands_in_and_the_step_says_so(
    client: Letta,
    make_agent: MakeAgent,
    endpoint: OpenAIEndpoint,
    messages_endpoint: AnthropicEndpoint,
    of_conversation: bool,
) -> None:
    fallbacks: dict[str, Any] = {"extra_body": {"fallback_models": [MODEL]}}
    agent: Any = make_agent(model=CLAUDE, **({} if of_conversation else fallbacks))
    conversation: Any = client.conversations.create(agent_id=agent.id, **(fallbacks if of_conversation else {}))
    assert (conversation if of_conversation else agent).fallback_models == [MODEL]
    messages_endpoint.script([Refuse(529, "Overloaded", "overloaded_error")])
    endpoint.script(text("I stand in."))
    assert answer(send(client, conversation.id, "Hello")) == "I stand in."
    (step,) = client.steps.list(agent_id=agent.id).items
    found: Any = client.steps.retrieve(step.id)
    assert (found.model_handle, found.provider_name, found.status) == (MODEL, "openai", "success")
    (failed,) = found.failed_tries
    assert (failed["model"], failed["error_type"], failed["delay"]) == (CLAUDE, "llm_error", None)
    assert "verloaded" in failed["detail"]


@requirement("fallback.refuses-unknown-handles")
def test_a_fallback_nobody_serves_is_refused(client: Letta, make_agent: MakeAgent, conversation: Conversation) -> None:
    unknown: dict[str, Any] = {"extra_body": {"fallback_models": ["nobody/model"]}}
    with pytest.raises(BadRequestError) as refused:
        client.agents.update(make_agent().id, **unknown)
    assert "nobody" in refused.value.message
    with pytest.raises(BadRequestError):
        client.conversations.update(conversation.id, **unknown)
