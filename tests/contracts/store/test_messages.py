"""Messages in a store: appending, ranges and lists."""

from dataclasses import replace as changed
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import NotFound
from tertulia.domain.messages import (
    ApprovalPart,
    Base64Image,
    CitationsPart,
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    ReasoningSummary,
    RedactedReasoningPart,
    StoredImage,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.ports.queries import MessageQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import (
    a_message,
    a_prompt,
    a_trace,
    at,
    stored_agent,
    stored_conversation,
    stored_messages,
    stored_run,
    stored_step,
)

EVERY_PART = (
    TextPart('say "hi"\n\0ünï 🎉', signature="s"),
    CitationsPart(({"url": "https://example.org", "start": 0},)),
    ImagePart(UrlImage("https://example.org/a.png")),
    ImagePart(Base64Image("image/png", "AAAA", detail="low")),
    ImagePart(StoredImage("file-1")),
    ReasoningPart("because", is_native=False, signature="s"),
    RedactedReasoningPart("xxxx"),
    OmittedReasoningPart(),
    SummarizedReasoningPart("rs_1", (ReasoningSummary(0, "why"),), encrypted_content="e"),
    ToolCallPart("call_1", "look", '{"not json'),
    ToolReturnPart("call_1", "look", (TextPart("seen"), ImagePart(UrlImage("u"))), "error", ("out",), ("err",)),
    ApprovalPart("call_1", approve=False, reason="no"),
    NativePart("openai", {"id": 1, "nested": [{}]}),
)


async def texts(store: Store, query: MessageQuery) -> list[str]:
    return [message.text for message in await store.read(lambda tx: tx.messages.find(query))]


async def test_a_message_is_read_back_with_every_kind_of_part_and_every_field(store: Store) -> None:
    assert {type(part) for part in EVERY_PART} == set(get_args(Part))
    conversation = await stored_conversation(store)
    message = a_message(
        conversation,
        role="assistant",
        content=EVERY_PART,
        run_id="run-1",
        step_id="step-1",
        otid="otid-1",
        name="n",
        sender_id="sender",
        group_id="g",
        batch_item_id="b",
        model="m",
        is_err=True,
        partial=True,
    )
    await store.write(lambda tx: tx.messages.append(conversation.id, [message]))
    assert await store.read(lambda tx: tx.messages.get(message.id)) == message
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 1, 2)) == [message]


async def test_an_unknown_message_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="Message not found with id='message-x'"):
        await store.read(lambda tx: tx.messages.get("message-x"))


async def test_appending_moves_the_head(store: Store) -> None:
    conversation = await stored_conversation(store)
    messages = [a_message(conversation, str(number)) for number in range(5)]
    heads = [
        await store.write(lambda tx: tx.messages.append(conversation.id, messages[:3])),
        await store.write(lambda tx: tx.messages.append(conversation.id, [])),
        await store.write(lambda tx: tx.messages.append(conversation.id, messages[3:])),
    ]
    assert heads == [4, 4, 6]
    assert (await store.read(lambda tx: tx.conversations.get(conversation.id))).head == 6
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 1, 99)) == messages


async def test_a_range_holds_its_start_and_not_its_stop(store: Store) -> None:
    conversation = await stored_conversation(store)
    messages = await stored_messages(store, conversation, *"abcde")
    for start, stop in ((1, 6), (2, 4), (5, 6), (3, 3), (4, 2), (6, 99)):
        expected = messages[start - 1 : max(stop - 1, start - 1)]
        found = await store.read(lambda tx, start=start, stop=stop: tx.messages.range(conversation.id, start, stop))
        assert found == expected, (start, stop)
    ids = [message.id for message in messages]
    assert await store.read(lambda tx: tx.messages.ids_from(conversation.id, 3)) == ids[2:]
    assert await store.read(lambda tx: tx.messages.ids_from(conversation.id, 6)) == []


async def test_the_system_prompt_is_rewritten_in_place_under_its_first_id(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "hello")
    first = await store.read(lambda tx: tx.messages.system(conversation.id))
    prompt = a_prompt(conversation, "You are Bea.")
    await store.write(lambda tx: tx.messages.set_system(conversation.id, prompt))
    system = await store.read(lambda tx: tx.messages.system(conversation.id))
    assert system == replace(prompt, id=first.id)
    assert (await store.read(lambda tx: tx.messages.range(conversation.id, 0, 9)))[0] == system
    assert (await store.read(lambda tx: tx.conversations.get(conversation.id))).head == 2


async def test_messages_of_a_conversation_are_listed_by_position_whatever_their_times(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "late", created_at=at(9))
    await stored_messages(store, conversation, "early", created_at=at(1))
    mine = MessageQuery(conversation_id=conversation.id, roles=("user",))
    assert await texts(store, mine) == ["early", "late"]
    assert await texts(store, changed(mine, ascending=True)) == ["late", "early"]


@pytest.mark.parametrize("scope", ["conversation_id", "agent_id"])
async def test_older_and_newer_mean_age_whatever_the_order(store: Store, scope: str) -> None:
    conversation = await stored_conversation(store)
    by_text = {message.text: message.id for message in await stored_messages(store, conversation, *"abcdef")}
    scopes: dict[str, Any] = {"conversation_id": conversation.id, "agent_id": conversation.agent_id}
    query = MessageQuery(roles=("user",), limit=2, **{scope: scopes[scope]})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"older_than": by_text["e"]}, "dc"),
        ({"older_than": by_text["e"], "ascending": True}, "ab"),
        ({"newer_than": by_text["b"]}, "fe"),
        ({"newer_than": by_text["b"], "ascending": True}, "cd"),
        ({"newer_than": by_text["b"], "older_than": by_text["d"]}, "c"),
        ({"newer_than": by_text["f"]}, ""),
        ({"limit": None}, "fedcba"),
    ]
    for changes, expected in cases:
        assert "".join(await texts(store, changed(query, **changes))) == expected, changes


async def test_a_cursor_must_name_a_message_of_the_list(store: Store) -> None:
    agent = await stored_agent(store)
    conversation, other = await stored_conversation(store, agent), await stored_conversation(store, agent)
    (elsewhere,) = await stored_messages(store, other, "elsewhere")
    for cursor in (elsewhere.id, "message-x"):
        query = MessageQuery(conversation_id=conversation.id, older_than=cursor)
        with pytest.raises(NotFound, match=f"Message not found with id='{cursor}'"):
            await texts(store, query)
    with pytest.raises(NotFound):
        await texts(store, MessageQuery(agent_id=agent.id, newer_than="message-x"))


async def test_messages_are_filtered_by_their_fields(store: Store) -> None:
    conversation = await stored_conversation(store)
    run = await stored_run(store, conversation)
    step = await stored_step(store, run)
    await stored_messages(store, conversation, "asked", run_id=run.id)
    await stored_messages(store, conversation, "said", role="assistant", run_id=run.id, step_id=step.id, group_id="g")
    await stored_messages(store, conversation, "failed", role="tool", is_err=True)
    await stored_messages(store, await stored_conversation(store), "stranger")
    whole = MessageQuery(conversation_id=conversation.id, roles=("user", "assistant", "tool"))
    assert await texts(store, whole) == ["failed", "said", "asked"]
    assert await texts(store, MessageQuery(run_id=run.id)) == ["said", "asked"]
    assert await texts(store, MessageQuery(step_id=step.id)) == ["said"]
    assert await texts(store, MessageQuery(step_id="step-x")) == []
    assert await texts(store, MessageQuery(group_id="g")) == ["said"]
    assert await texts(store, changed(whole, include_errors=False)) == ["said", "asked"]
    assert await texts(store, MessageQuery(agent_id=conversation.agent_id, roles=("user",))) == ["asked"]
    assert await texts(store, MessageQuery(conversation_id="conv-x")) == []


async def test_messages_of_several_conversations_are_listed_as_they_were_written(store: Store) -> None:
    agent = await stored_agent(store)
    left, right = await stored_conversation(store, agent), await stored_conversation(store, agent)
    for text, conversation in (("a", left), ("b", right), ("c", left), ("d", right)):
        await stored_messages(store, conversation, text)
    assert await texts(store, MessageQuery(agent_id=agent.id, roles=("user",))) == ["d", "c", "b", "a"]


async def test_the_runs_that_took_messages_are_found_by_the_otids_of_these(store: Store) -> None:
    conversation, other = await stored_conversation(store), await stored_conversation(store)
    await stored_messages(store, conversation, "one", otid="o1", run_id="run-1")
    await stored_messages(store, conversation, "two", otid="o2", run_id="run-2")
    await stored_messages(store, conversation, "three", otid="o3")
    await stored_messages(store, other, "elsewhere", otid="o4", run_id="run-4")
    otids = ["o1", "o2", "o3", "o4", "o5"]
    found = await store.read(lambda tx: tx.messages.runs_by_otid(conversation.id, otids))
    assert found == {"o1": "run-1", "o2": "run-2"}
    assert await store.read(lambda tx: tx.messages.runs_by_otid(conversation.id, [])) == {}


async def test_a_reset_leaves_the_system_prompt_alone(store: Store) -> None:
    conversation = await stored_conversation(store)
    (gone,) = await stored_messages(store, conversation, "gone")
    await store.write(lambda tx: tx.conversations.set_context(conversation.id, 2))
    step = await stored_step(store, await stored_run(store, conversation))
    await store.write(lambda tx: tx.steps.put_frame("f", b""))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(step, "f")))
    prompt = await store.read(lambda tx: tx.messages.system(conversation.id))

    await store.write(lambda tx: tx.messages.reset(conversation.id))

    assert await store.read(lambda tx: tx.conversations.get(conversation.id)) == replace(conversation, epoch=1)
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 0, 99)) == [prompt]
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.messages.get(gone.id))
    # The trace would show positions that are gone; the step itself is kept.
    assert await store.read(lambda tx: tx.steps.trace(step.id)) is None
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.steps.frame("f"))
    assert await store.read(lambda tx: tx.steps.get(step.id)) == step


async def test_a_conversation_goes_on_after_a_reset(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "gone")
    for _ in range(2):
        await store.write(lambda tx: tx.messages.reset(conversation.id))
    new: list[Message] = await stored_messages(store, conversation, "new")
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 1, 99)) == new
    assert (await store.read(lambda tx: tx.conversations.get(conversation.id))).epoch == 2
