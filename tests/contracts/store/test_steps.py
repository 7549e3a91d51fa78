"""Steps, traces and frames in a store."""

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import NotFound
from tertulia.domain.runs import Usage
from tertulia.ports.queries import Page, StepQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import (
    a_conversation,
    a_run,
    a_step,
    a_trace,
    an_agent,
    at,
    stored_run,
    stored_step,
)


async def ids(store: Store, query: StepQuery) -> list[str]:
    return [step.id for step in await store.read(lambda tx: tx.steps.find(query))]


async def test_a_step_is_read_back_with_every_field(store: Store) -> None:
    step = a_step(
        await stored_run(store),
        model_endpoint="http://127.0.0.1",
        usage=Usage(
            prompt_tokens=1,
            completion_tokens=2,
            total_tokens=3,
            cached_input_tokens=4,
            cache_write_tokens=5,
            reasoning_tokens=6,
        ),
        stop_reason="tool_rule",
        error_type="llm_error",
        error_data={"a": 1},
        feedback="positive",
        tags=("x", "y"),
        request_id="r",
        step_start_ns=10**18,
        step_ns=1,
        llm_request_start_ns=2,
        llm_request_ns=3,
        tool_execution_ns=4,
        project_id="p",
    )
    await store.write(lambda tx: tx.steps.insert(step))
    assert await store.read(lambda tx: tx.steps.get(step.id)) == step


async def test_an_unknown_step_is_not_found(store: Store) -> None:
    unknown = a_step(a_run(a_conversation(an_agent())))
    with pytest.raises(NotFound, match="Step not found"):
        await store.read(lambda tx: tx.steps.get(unknown.id))
    with pytest.raises(NotFound, match="Step not found"):
        await store.write(lambda tx: tx.steps.update(unknown))
    with pytest.raises(NotFound, match="Step not found"):
        await store.write(lambda tx: tx.steps.put_trace(a_trace(unknown)))
    with pytest.raises(NotFound, match="Run not found"):
        await store.write(lambda tx: tx.steps.insert(unknown))


async def test_an_update_replaces_the_step_and_its_tags_and_keeps_its_trace(store: Store) -> None:
    step = await stored_step(store, tags=("old",), status="pending")
    trace = a_trace(step)
    await store.write(lambda tx: tx.steps.put_trace(trace))
    changed = replace(step, status="failed", feedback="negative", tags=("new",))
    await store.write(lambda tx: tx.steps.update(changed))
    assert await store.read(lambda tx: tx.steps.get(step.id)) == changed
    assert await ids(store, StepQuery(tags=("new",))) == [step.id]
    assert await ids(store, StepQuery(tags=("old",))) == []
    assert await store.read(lambda tx: tx.steps.trace(step.id)) == trace


async def test_steps_are_filtered_by_their_fields(store: Store) -> None:
    run = await stored_run(store)
    one = await stored_step(store, run, created_at=at(1), feedback="positive", tags=("x",), project_id="p")
    two = await stored_step(store, run, created_at=at(2), model="big")
    three = await stored_step(store, created_at=at(3), feedback="negative", tags=("y",))
    assert await ids(store, StepQuery()) == [three.id, two.id, one.id]
    assert await ids(store, StepQuery(page=Page(ascending=True))) == [one.id, two.id, three.id]
    for query, expected in (
        (StepQuery(run_id=run.id), [two, one]),
        (StepQuery(agent_id=run.agent_id), [two, one]),
        (StepQuery(model="big"), [two]),
        (StepQuery(feedback="negative"), [three]),
        (StepQuery(has_feedback=True), [three, one]),
        (StepQuery(has_feedback=False), [two]),
        (StepQuery(tags=("x", "y")), [three, one]),
        (StepQuery(project_id="p"), [one]),
        (StepQuery(start=at(2)), [three, two]),
        (StepQuery(end=at(2)), [two, one]),
    ):
        assert await ids(store, query) == [step.id for step in expected], query


async def test_a_trace_is_read_back_and_can_be_written_again(store: Store) -> None:
    step = await stored_step(store)
    assert await store.read(lambda tx: tx.steps.trace(step.id)) is None
    for head in (2, 3):
        trace = a_trace(step, head=head, reply={"id": "chatcmpl-1", "n": [head]})
        await store.write(lambda tx, trace=trace: tx.steps.put_trace(trace))
        assert await store.read(lambda tx: tx.steps.trace(step.id)) == trace
    assert await store.read(lambda tx: tx.steps.trace("step-x")) is None


async def test_a_frame_is_kept_once_for_each_digest(store: Store) -> None:
    for data in (b"first\0", b"ignored"):
        await store.write(lambda tx, data=data: tx.steps.put_frame("digest", data))
    assert await store.read(lambda tx: tx.steps.frame("digest")) == b"first\0"
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.steps.frame("other"))
