"""Finding messages by their words, runs in the background, previews and log probabilities."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import detail, history, of_type, send, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import Finish, OpenAIEndpoint, Raw, text


@requirement("messages.search.by-words")
@pytest.mark.parametrize("mode", [{}, {"search_mode": "fts"}, {"search_mode": "hybrid"}], ids=str)
def test_a_message_is_found_by_its_words(
    client: Letta, agent: AgentState, conversation: Conversation, endpoint: OpenAIEndpoint, mode: Any
) -> None:
    word = unique("oolong").replace("-", "")
    endpoint.script(text("I do."))
    send(client, conversation.id, f"Do you know {word} tea?")
    found: Any
    (found,) = client.messages.search(query=f"tea {word}", **mode)
    assert (found.message_type, found.agent_id, found.conversation_id) == ("user_message", agent.id, conversation.id)
    assert word in found.content
    assert client.messages.search(query=f"{word} coffee", **mode) == []


@requirement("messages.search.by-words")
def test_a_search_by_meaning_says_that_it_is_not_there(client: Letta) -> None:
    assert "vector" in detail(501, lambda: client.messages.search(query="tea", search_mode="vector"))


@requirement("messages.search.filters")
def test_each_filter_of_the_search_has_its_effect(
    client: Letta, agent: AgentState, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("I do."))
    send(client, conversation.id, "Do you know senchatea?")
    now = datetime.now(UTC)
    mine: dict[str, Any] = {"query": "know", "agent_id": agent.id}
    assert len(client.messages.search(**mine)) == 1
    assert client.messages.search(query="senchatea", agent_id="agent-00000000-0000-4000-8000-000000000000") == []
    assert len(client.messages.search(**mine, conversation_id=conversation.id)) == 1
    assert client.messages.search(**mine, conversation_id="default") == []
    assert client.messages.search(**mine, start_date=now + timedelta(days=1)) == []
    assert client.messages.search(**mine, end_date=now - timedelta(days=1)) == []
    assert len(client.messages.search(query="do", agent_id=agent.id, limit=1)) == 1


@requirement("agents.messages.create_async.returns-the-run", "agents.messages.create_async.callback-url")
def test_a_run_in_the_background_is_answered_before_it_is_over(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("Hello!"))
    run = client.agents.messages.create_async(agent.id, input="hi")
    assert (run.background, run.agent_id, run.callback_url) == (True, agent.id, None)
    with client.runs.messages.stream(run.id) as events:
        assert "".join(event.content for event in of_type(list(events), "assistant_message")) == "Hello!"
    assert client.runs.retrieve(run.id).status == "completed"
    for url in ("http://127.0.0.1:1/told", "http://localhost/", "http://192.168.0.1/", "ftp://example.com/"):
        refusal = detail(
            400, lambda url=url: client.agents.messages.create_async(agent.id, input="x", callback_url=url)
        )
        assert "callback_url" in refusal


@requirement("messages.create.preview")
def test_a_preview_is_the_request_that_is_then_sent(
    client: Letta, http: httpx.Client, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    body = {"input": "hi", "client_tools": [{"name": "Bash", "parameters": {"type": "object"}}]}
    shown = http.post(f"/v1/agents/{agent.id}/messages/preview-raw-payload", json=body)
    assert shown.status_code == 200
    assert endpoint.requests == []
    assert len(client.agents.messages.list(agent.id).items) == 1
    endpoint.script(text("Hello!"))
    assert http.post(f"/v1/agents/{agent.id}/messages", json=body).status_code == 200
    assert endpoint.requests[0].body == shown.json()


@requirement("messages.create.logprobs")
def test_log_probabilities_come_with_a_json_reply(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    token = '{"token":"Hi","logprob":-0.25,"bytes":null,"top_logprobs":[{"token":"Ho","logprob":-1.5,"bytes":null}]}'
    choice = f'{{"index":0,"delta":{{"content":"Hi"}},"logprobs":{{"content":[{token}]}},"finish_reason":null}}'
    endpoint.script([Raw(f'data: {{"id":"chatcmpl-1","choices":[{choice}]}}\n\n'.encode()), Finish()])
    reply = send(client, conversation.id, return_logprobs=True, top_logprobs=1)
    assert reply.logprobs is not None
    assert reply.logprobs.content is not None
    assert [(entry.token, entry.logprob) for entry in reply.logprobs.content] == [("Hi", -0.25)]
    asked = endpoint.requests[0].body
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 1)


@requirement("messages.create.impossible-options")
def test_log_probabilities_of_a_stream_are_refused(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    refusal = detail(
        400, lambda: client.conversations.messages.create(conversation.id, input="x", return_logprobs=True)
    )
    assert "return_logprobs" in refusal
    assert endpoint.requests == []
    assert len(history(client, conversation.id)) == 1


@requirement("approvals.of-a-tool")
def test_a_tool_is_made_to_wait_for_approval_and_let_go(client: Letta, agent: AgentState) -> None:
    def required(*, wanted: bool) -> list[Any]:
        changed = client.agents.tools.update_approval("memory_insert", agent_id=agent.id, body_requires_approval=wanted)
        assert changed is not None
        return [rule for rule in changed.tool_rules or [] if rule.type == "requires_approval"]

    assert [rule.tool_name for rule in required(wanted=True)] == ["memory_insert"]
    assert required(wanted=False) == []
    unknown: Any = client.agents.tools.update_approval
    assert "nothing" in detail(404, lambda: unknown("nothing", agent_id=agent.id, body_requires_approval=True))


@requirement("conversations.update.max-tokens")
def test_max_tokens_is_the_limit_in_the_settings(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    changed = client.conversations.update(conversation.id, extra_body={"max_tokens": 77})
    assert changed.model_dump()["model_settings"]["max_output_tokens"] == 77
    endpoint.script(text("ok"))
    send(client, conversation.id)
    assert 77 in {endpoint.requests[0].body.get("max_tokens"), endpoint.requests[0].body.get("max_completion_tokens")}
