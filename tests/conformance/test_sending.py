"""A message sent with `streaming: false`: what goes to the model and what comes back."""

from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import MakeAgent, answer, detail, history, of_type, send, types
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder
from tests.support.openai_endpoint import Finish, OpenAIEndpoint, call, calls, text, think, usage


@requirement("messages.create.json-reply")
def test_a_json_reply_holds_the_new_messages_the_stop_reason_and_the_usage(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder
) -> None:
    endpoint.script(text("Hello ", "there.", usage=usage(31, 7, cached=11, reasoning=2)))
    response = send(client, conversation.id, "hi")
    assert types(response.messages) == ["assistant_message"]
    assert answer(response) == "Hello there."
    assert response.stop_reason.stop_reason == "end_turn"
    spent = response.usage
    assert (spent.prompt_tokens, spent.completion_tokens, spent.total_tokens) == (31, 7, 38)
    assert (spent.cached_input_tokens, spent.reasoning_tokens, spent.step_count) == (11, 2, 1)
    assert spent.run_ids is not None
    assert len(spent.run_ids) == 1
    assert set(recorder.last.json) == {"messages", "stop_reason", "usage", "logprobs", "turns"}


@requirement("messages.create.sends-the-history")
def test_the_model_gets_the_system_prompt_the_history_and_the_new_message(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("first answer"), text("second answer"))
    send(client, conversation.id, "first question")
    send(client, conversation.id, "second question")
    sent = endpoint.wait_for_requests(2)[1].messages
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in sent[1:]] == ["first question", "first answer", "second question"]


@requirement("messages.create.input-and-messages")
@pytest.mark.parametrize(
    "body",
    [
        {"input": "a", "messages": [{"role": "user", "content": "b"}]},
        {},
        {"messages": []},
        {"messages": [{"role": "wizard", "content": "b"}]},
        {"messages": [{"role": "user"}]},
        {"messages": "hello"},
        {"input": 3},
        {"input": "a", "max_steps": "many"},
        {"input": "a", "streaming": "perhaps"},
    ],
)
def test_a_body_that_does_not_validate_is_422(client: Letta, conversation: Conversation, body: dict[str, Any]) -> None:
    path = f"/v1/conversations/{conversation.id}/messages"
    assert detail(422, lambda: client.post(path, body={"streaming": False} | body, cast_to=object))
    assert history(client, conversation.id)[1:] == []


@requirement("messages.create.empty-messages")
def test_an_empty_list_of_messages_is_refused_in_these_words(client: Letta, conversation: Conversation) -> None:
    assert "Messages must not be empty" in detail(422, lambda: send(client, conversation.id, None, messages=[]))


@requirement("messages.create.content-parts")
def test_text_and_images_reach_the_model_and_the_history(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "look:"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": pixel}},
    ]
    send(client, conversation.id, None, messages=[{"role": "user", "content": parts}])
    sent = endpoint.wait_for_requests(1)[0].messages[-1]["content"]
    assert sent[0] == {"type": "text", "text": "look:"}
    assert sent[1]["image_url"]["url"] == f"data:image/png;base64,{pixel}"
    stored = of_type(history(client, conversation.id), "user_message")[0].content
    assert [part.type for part in stored] == ["text", "image"]


@requirement("messages.create.several-messages")
def test_several_messages_are_stored_in_order_with_their_names_and_otids(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    given: list[dict[str, Any]] = [
        {"role": "system", "content": "The user is in a hurry.", "otid": "o-1"},
        {"role": "user", "content": "hello", "name": "ada", "otid": "o-2", "type": "message"},
    ]
    send(client, conversation.id, None, messages=given)
    stored = history(client, conversation.id)
    assert types(stored) == ["system_message", "system_message", "user_message", "assistant_message"]
    assert [message.otid for message in stored[1:3]] == ["o-1", "o-2"]
    assert stored[2].name == "ada"
    roles = [message["role"] for message in endpoint.wait_for_requests(1)[0].messages]
    assert roles in (["system", "system", "user"], ["system", "user", "user"])


@requirement("messages.create.reasoning")
def test_reasoning_is_a_message_of_its_own(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(think("Let me ", "see.", answer="42"))
    response = send(client, conversation.id)
    assert types(response.messages) == ["reasoning_message", "assistant_message"]
    reasoning, assistant = response.messages
    assert getattr(reasoning, "reasoning", None) == "Let me see."
    assert getattr(reasoning, "source", None) == "reasoner_model"
    assert reasoning.id == assistant.id
    assert reasoning.otid != assistant.otid


@requirement("messages.create.otid-retry")
def test_a_request_whose_otids_were_all_seen_is_a_retry(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("once"), text("twice"))
    message: dict[str, Any] = {"role": "user", "content": "hello", "otid": "the-same"}
    first = send(client, conversation.id, None, messages=[message])
    second = send(client, conversation.id, None, messages=[message])
    assert answer(first) == answer(second) == "once"
    assert first.usage.run_ids == second.usage.run_ids
    assert len(endpoint.requests) == 1
    assert types(history(client, conversation.id)) == ["system_message", "user_message", "assistant_message"]


@requirement("messages.create.override-model")
def test_a_request_can_name_another_model(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    send(client, conversation.id, override_model="openai/gpt-4o")
    send(client, conversation.id)
    assert [request.body["model"] for request in endpoint.wait_for_requests(2)] == ["gpt-4o", "gpt-4o-mini"]


@requirement("messages.create.conversation-model")
def test_the_model_of_a_conversation_goes_before_the_agents(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    conversation = client.conversations.create(
        agent_id=agent.id,
        model="openai/gpt-4o",
        model_settings={"provider_type": "openai", "temperature": 0.125, "max_output_tokens": 99},
    )
    send(client, conversation.id)
    sent = endpoint.wait_for_requests(1)[0].body
    assert sent["model"] == "gpt-4o"
    assert sent["temperature"] == 0.125
    assert 99 in {sent.get("max_tokens"), sent.get("max_completion_tokens")}


@requirement("messages.create.override-system")
def test_a_request_can_bring_its_own_system_prompt(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    send(client, conversation.id, override_system="You are a parrot.")
    send(client, conversation.id)
    first, second = endpoint.wait_for_requests(2)
    assert first.system == "You are a parrot."
    assert "parrot" not in second.system
    assert "parrot" not in history(client, conversation.id)[0].content


@requirement("messages.create.type-filter")
def test_a_reply_holds_only_the_types_asked_for(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(think("hm", answer="yes"))
    response = send(client, conversation.id, include_return_message_types=["assistant_message"])
    assert types(response.messages) == ["assistant_message"]
    assert "reasoning_message" in types(history(client, conversation.id))


@requirement("messages.create.max-steps")
def test_the_loop_stops_at_max_steps(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    endpoint.answer_with(lambda request: calls(call("conversation_search", {"query": "x"})))
    response = send(client, conversation.id, max_steps=2)
    assert response.stop_reason.stop_reason == "max_steps"
    assert response.usage.step_count == 2
    assert len(endpoint.requests) == 2
    assert types(response.messages) == ["tool_call_message", "tool_return_message"] * 2
    endpoint.script(text("fine"))
    assert answer(send(client, conversation.id)) == "fine"


@requirement("messages.create.assistant-message-tool")
def test_the_message_tool_of_old_agents_is_shown_as_an_assistant_message(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    agent = make_agent(agent_type="memgpt_v2_agent", tools=["send_message"], include_base_tools=False)
    conversation = client.conversations.create(agent_id=agent.id)
    endpoint.script(calls(call("send_message", {"message": "Good day."})))
    response = send(client, conversation.id)
    assert answer(response) == "Good day."
    assert len(endpoint.requests) == 1
    endpoint.script(calls(call("send_message", {"message": "Again."})))
    plain = send(client, conversation.id, use_assistant_message=False)
    assert "tool_call_message" in types(plain.messages)
    assert answer(plain) == ""


@requirement("messages.create.finish-length")
def test_a_reply_cut_at_the_token_limit_says_so(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([*text("half a sent")[:-1], Finish("length")])
    assert send(client, conversation.id).stop_reason.stop_reason == "max_tokens_exceeded"


@requirement("agents.messages.create.json-by-default")
def test_the_agents_route_answers_json_by_default(client: Letta, agent: AgentState, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(text("yes"))
    response = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hello"}])
    assert answer(response) == "yes"
    listed = client.agents.messages.list(agent.id, order="asc")
    assert types(listed) == ["system_message", "user_message", "assistant_message"]
