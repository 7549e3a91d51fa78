from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation
from letta_client.types.agents import Run

from tests.conformance.helpers import detail, history, refused, send, stream, types, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint, Refuse, call, calls, text, usage

MISSING_RUN = "run-00000000-0000-4000-8000-000000000000"
MISSING_STEP = "step-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def run(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> Run:
    """A finished run of two steps: a tool call, then an answer."""
    first = calls(call("memory_insert", {"label": "human", "new_string": "Likes tea."}), say="Noted.")
    endpoint.script(
        [*first[:-1], *text(usage=usage(100, 10, cached=40))], text("Done.", usage=usage(120, 5, reasoning=3))
    )
    response = send(client, conversation.id, "I like tea.")
    assert response.usage.run_ids is not None
    return client.runs.retrieve(response.usage.run_ids[0])


@requirement("runs.retrieve.returns-contract-shape")
def test_a_finished_run_tells_what_happened(client: Letta, run: Run, conversation: Conversation) -> None:
    assert run.id.startswith("run-")
    assert (run.agent_id, run.conversation_id) == (conversation.agent_id, conversation.id)
    assert (run.status, run.stop_reason, run.background) == ("completed", "end_turn", False)
    assert run.created_at is not None
    assert run.completed_at is not None
    assert run.created_at <= run.completed_at
    assert run.ttft_ns is not None
    assert run.total_duration_ns is not None
    assert 0 < run.ttft_ns <= run.total_duration_ns
    assert run.request_config is not None


@requirement("runs.unknown-is-404")
def test_an_unknown_run_or_step_is_404_everywhere(client: Letta) -> None:
    requests: list[tuple[str, Callable[[], object]]] = [
        (MISSING_RUN, lambda: client.runs.retrieve(MISSING_RUN)),
        (MISSING_RUN, lambda: client.runs.messages.list(MISSING_RUN)),
        (MISSING_RUN, lambda: client.runs.steps.list(MISSING_RUN)),
        (MISSING_RUN, lambda: client.runs.usage.retrieve(MISSING_RUN)),
        (MISSING_STEP, lambda: client.steps.retrieve(MISSING_STEP)),
        (MISSING_STEP, lambda: client.steps.messages.list(MISSING_STEP)),
        (MISSING_STEP, lambda: client.steps.metrics.retrieve(MISSING_STEP)),
        (MISSING_STEP, lambda: client.steps.trace.retrieve(MISSING_STEP)),
    ]
    for missing, request in requests:
        assert missing in detail(404, request)


@requirement("runs.list.filters")
def test_runs_are_found_by_agent_conversation_status_and_stop_reason(
    client: Letta, agent: AgentState, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("fine"), [Refuse(400, "no")])
    fine = (send(client, conversation.id).usage.run_ids or [""])[0]
    refused(502, lambda: send(client, conversation.id))
    other = (send(client, "default", agent_id=agent.id).usage.run_ids or [""])[0]

    def found(**query: Any) -> list[str]:
        return [listed.id for listed in client.runs.list(order="asc", **query)]

    every = found(agent_id=agent.id)
    assert len(every) == 3
    failed = every[1]
    assert every == [fine, failed, other]
    assert found(agent_ids=[agent.id]) == every
    assert found(conversation_id=conversation.id) == [fine, failed]
    assert found(agent_id=agent.id, statuses=["failed"]) == [failed]
    assert found(agent_id=agent.id, statuses=["failed", "completed"]) == every
    assert found(agent_id=agent.id, stop_reason="end_turn") == [fine, other]
    assert found(agent_id=agent.id, stop_reason="llm_api_error") == [failed]
    assert found(agent_id=agent.id, background=False) == every
    assert found(agent_id=agent.id, background=True) == []
    assert found(agent_id=agent.id, active=True) == []
    assert found(agent_id="agent-00000000-0000-4000-8000-000000000000") == []


@requirement("runs.list.order-and-cursors")
def test_runs_come_in_order_and_page_by_page(client: Letta, conversation: Conversation) -> None:
    made = [(send(client, conversation.id).usage.run_ids or [""])[0] for _ in range(4)]

    def page(**query: Any) -> list[str]:
        return [listed.id for listed in client.runs.list(conversation_id=conversation.id, **query).items]

    assert page(order="asc") == made
    assert page(order="desc") == page() == made[::-1]
    assert page(order="asc", limit=2, after=made[0]) == made[1:3]
    assert page(order="desc", limit=2, after=made[3]) == [made[2], made[1]]
    assert page(order="asc", before=made[2]) == made[:2]
    assert page(ascending=True) == made


@requirement("runs.messages.list.returns-contract-shape")
def test_the_messages_of_a_run_are_its_input_and_its_output(
    client: Letta, run: Run, conversation: Conversation
) -> None:
    listed = client.runs.messages.list(run.id, order="asc").items
    assert types(listed) == [
        "user_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    assert listed == history(client, conversation.id)[1:]
    assert client.runs.messages.list(run.id, order="desc").items == listed[::-1]
    assert client.runs.messages.list(run.id, order="asc", after=listed[0].id).items == listed[1:]


@requirement("runs.steps.list.returns-contract-shape")
def test_each_step_of_a_run_tells_its_model_and_its_tokens(client: Letta, run: Run) -> None:
    first, second = client.runs.steps.list(run.id, order="asc").items
    for step in (first, second):
        assert (step.run_id, step.status, step.model) == (run.id, "success", "gpt-4o-mini")
        assert step.api_model_handle == "openai/gpt-4o-mini"
        assert step.provider_name == "openai"
        assert step.agent_id == run.agent_id
        assert step.context_window_limit
    assert (first.prompt_tokens, first.completion_tokens, first.total_tokens) == (100, 10, 110)
    assert first.cached_input_tokens == 40
    assert (second.prompt_tokens, second.completion_tokens, second.reasoning_tokens) == (120, 5, 3)
    assert second.stop_reason == "end_turn"
    assert client.runs.steps.list(run.id, order="desc").items == [second, first]
    assert client.runs.steps.list(run.id, order="asc", after=first.id).items == [second]


@requirement("runs.usage.retrieve.adds-up-the-steps")
def test_the_usage_of_a_run_is_the_sum_of_its_steps(client: Letta, run: Run) -> None:
    spent = client.runs.usage.retrieve(run.id)
    assert (spent.prompt_tokens, spent.completion_tokens, spent.total_tokens) == (220, 15, 235)
    assert spent.prompt_tokens_details is not None
    assert spent.prompt_tokens_details.cached_tokens == 40
    assert spent.completion_tokens_details is not None
    assert spent.completion_tokens_details.reasoning_tokens == 3


@requirement("steps.retrieve.returns-contract-shape")
def test_a_step_is_retrieved_as_it_is_listed(client: Letta, run: Run) -> None:
    listed = client.runs.steps.list(run.id, order="asc").items[0]
    assert client.steps.retrieve(listed.id) == listed


@requirement("steps.list.filters")
def test_steps_are_found_by_agent_model_and_time(client: Letta, run: Run, agent: AgentState) -> None:
    before = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
    after = datetime(2100, 1, 1, tzinfo=UTC).isoformat()
    steps = [step.id for step in client.runs.steps.list(run.id, order="asc")]

    def found(**query: Any) -> list[str]:
        return [step.id for step in client.steps.list(agent_id=agent.id, order="asc", **query)]

    assert found() == steps
    assert found(model="gpt-4o-mini") == steps
    assert found(model="gpt-4o") == []
    assert found(start_date=before, end_date=after) == steps
    assert found(start_date=after) == []
    assert found(end_date=before) == []
    assert found(has_feedback=False) == steps
    assert found(has_feedback=True) == []
    assert found(feedback="positive") == []
    assert found(tags=[unique("tag")]) == []
    assert found(limit=1) == steps
    assert [s.id for s in client.steps.list(agent_id=agent.id, order="desc", limit=1).items] == steps[1:]
    assert [s.id for s in client.steps.list(agent_id=agent.id, order="asc", after=steps[0]).items] == steps[1:]


@requirement("steps.messages.list.returns-contract-shape")
def test_the_messages_of_a_step_are_what_it_made(client: Letta, run: Run) -> None:
    first, second = (step.id for step in client.runs.steps.list(run.id, order="asc"))
    made = client.steps.messages.list(first, order="asc").items
    assert types(made)[-3:] == ["assistant_message", "tool_call_message", "tool_return_message"]
    assert types(client.steps.messages.list(second, order="asc")) == ["assistant_message"]


@requirement("steps.metrics.retrieve.returns-contract-shape")
def test_the_metrics_of_a_step_are_times_in_nanoseconds(client: Letta, run: Run) -> None:
    step = client.runs.steps.list(run.id, order="asc").items[0]
    metrics = client.steps.metrics.retrieve(step.id)
    assert metrics.id == step.id
    assert metrics.run_id == run.id
    assert metrics.llm_request_ns is not None
    assert metrics.step_ns is not None
    assert metrics.tool_execution_ns is not None
    assert 0 < metrics.llm_request_ns <= metrics.step_ns
    assert 0 < metrics.tool_execution_ns <= metrics.step_ns


@requirement("steps.trace.retrieve.is-what-was-sent")
def test_the_trace_of_a_step_is_the_request_and_the_reply_as_sent(
    client: Letta, run: Run, endpoint: OpenAIEndpoint
) -> None:
    for step, sent in zip(client.runs.steps.list(run.id, order="asc"), endpoint.requests, strict=True):
        trace = client.steps.trace.retrieve(step.id)
        assert trace is not None
        assert trace.step_id == step.id
        assert trace.request_json == sent.body
        assert trace.response_json
    assert "Done." in str(trace.response_json)  # pyright: ignore[reportPossiblyUnboundVariable]  the run has two steps


@requirement("steps.feedback.create")
def test_feedback_on_a_step_is_kept_and_found(client: Letta, run: Run) -> None:
    first, second = (step.id for step in client.runs.steps.list(run.id, order="asc"))
    judged = client.steps.feedback.create(first, feedback="positive", tags=["good"])
    assert (judged.feedback, judged.tags) == ("positive", ["good"])
    assert client.steps.retrieve(first) == judged

    def found(**query: Any) -> list[str]:
        return [step.id for step in client.steps.list(agent_id=run.agent_id, **query)]

    assert found(feedback="positive") == found(has_feedback=True) == found(tags=["good", "other"]) == [first]
    assert found(feedback="negative") == []
    assert found(has_feedback=False) == [second]
    client.steps.feedback.create(first, feedback=None)
    assert client.steps.retrieve(first).feedback is None
    assert MISSING_STEP in detail(404, lambda: client.steps.feedback.create(MISSING_STEP, feedback="positive"))


@requirement("runs.failure-is-recorded")
def test_a_failed_run_says_why(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    endpoint.script([Refuse(429, "slow down", headers=(("retry-after", "7"),))])
    refused(429, lambda: send(client, conversation.id))
    failed = client.runs.list(conversation_id=conversation.id).items[0]
    assert (failed.status, failed.stop_reason) == ("failed", "llm_api_error")
    assert failed.completed_at is not None
    for run in (failed, client.runs.retrieve(failed.id)):
        told: Any = (run.metadata or {}).get("error")
        assert set(told) == {"error_type", "message", "detail"}
        assert "slow down" in told["detail"]
    step = client.runs.steps.list(failed.id).items[0]
    assert step.status == "failed"
    assert step.error_type == "llm_rate_limit"
    assert "slow down" in str(step.error_data)


@requirement("runs.trace.retrieve.spans")
def test_a_run_is_told_as_spans(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(calls(call("conversation_search", {"query": "x"})), text("done"))
    run_id = stream(client, conversation.id)[0].run_id
    spans: list[Any] = client.runs.trace.retrieve(run_id)
    assert [span["name"].partition(" ")[0] for span in spans] == [
        "invoke_agent", "step", "chat", "execute_tools", "step", "chat",
    ]  # fmt: skip
    assert {span["trace_id"] for span in spans} == {run_id}
    assert {span["parent_span_id"] for span in spans[1:]} <= {span["span_id"] for span in spans}
    assert all(span["duration_ns"] > 0 for span in spans)
    assert client.runs.trace.retrieve(run_id, limit=1) == spans[:1]
    detail(404, lambda: client.runs.trace.retrieve("run-00000000-0000-4000-8000-000000000000"))
