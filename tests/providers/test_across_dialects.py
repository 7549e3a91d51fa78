"""One conversation through every dialect: what a provider issued for itself comes back to it, and goes to no other."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from letta_client import APIStatusError, Letta

from tests.support.mind import Mind
from tests.support.minds import MINDS
from tests.support.server_process import ForkedServer

pytestmark = pytest.mark.slow

TURNS = 6
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def all_minds() -> Iterator[list[Mind]]:
    with ExitStack() as stack:
        yield [stack.enter_context(mind()) for mind in MINDS]


@pytest.fixture(scope="module")
def client(all_minds: list[Mind], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Letta]:
    folder: Path = tmp_path_factory.mktemp("server") / "data"
    environment = {name: value for mind in all_minds for name, value in mind.environment().items()}
    settings = {"TERTULIA_MODEL_RETRIES": "0", "TERTULIA_DEFAULT_MODEL": all_minds[0].model}
    with (
        ForkedServer(folder, environment | settings) as server,
        Letta(base_url=server.url, api_key="unused", max_retries=0) as client,
    ):
        yield client


@pytest.fixture
def minds(all_minds: list[Mind]) -> Iterator[list[Mind]]:
    for mind in all_minds:
        mind.reset()
    yield all_minds
    for mind in all_minds:
        assert not mind.endpoint.violations, "\n".join(mind.endpoint.violations)


def say(client: Letta, agent_id: str, text: str) -> list[Any]:
    """The frames of the reply."""
    return send(client, agent_id, {"role": "user", "content": text})


def send(client: Letta, agent_id: str, message: Any) -> list[Any]:
    with client.conversations.messages.create("default", agent_id=agent_id, messages=[message]) as frames:
        return list(frames)


def told(frames: Sequence[Any]) -> str:
    return "".join(frame.content for frame in frames if getattr(frame, "message_type", "") == "assistant_message")


def check_returned(mind: Mind) -> None:
    """Fail unless each request brought back all that was issued before it: each is some of the next, the last all."""
    found = [mind.returned(request) for request in mind.endpoint.requests]
    for items in found:
        assert items == mind.issued[: len(items)]
    assert [len(items) for items in found] == sorted(len(items) for items in found)
    last = mind.issued[: len(found[-1])]
    # Only what the last reply itself issued has not been asked back yet.
    assert found[-1] == last
    assert len(mind.issued) - len(last) <= ITEMS_OF_A_REPLY


ITEMS_OF_A_REPLY = 3


def check_nothing_foreign(minds: Sequence[Mind]) -> None:
    for mind in minds:
        foreign = [mark for other in minds if other is not mind for mark in other.marks]
        for request in mind.endpoint.requests:
            body = json.dumps(request.body, ensure_ascii=False)
            assert not [mark for mark in foreign if mark in body], f"{mind.name} was sent what is not its own"


@pytest.mark.parametrize("mind", MINDS, ids=lambda mind: mind.name)
def test_what_a_provider_issued_comes_back_to_it_unchanged(client: Letta, minds: list[Mind], mind: type[Mind]) -> None:
    own = next(one for one in minds if isinstance(one, mind))
    agent = client.agents.create(name="Ada", **own.agent)
    for turn in range(TURNS):
        assert "answer" in told(say(client, agent.id, f"question {turn}"))
    assert len(own.endpoint.requests) == 2 * TURNS
    check_returned(own)


def test_a_conversation_that_goes_through_all_dialects_twice_stays_valid_for_each(
    client: Letta, minds: list[Mind]
) -> None:
    agent = client.agents.create(name="Ada", **minds[0].agent)
    for turn, mind in enumerate([*minds, *minds, *reversed(minds)]):
        client.agents.update(agent.id, **mind.agent)
        assert "answer" in told(say(client, agent.id, f"question {turn}"))
    for mind in minds:
        assert len(mind.endpoint.requests) == 6
        check_returned(mind)
    check_nothing_foreign(minds)


def test_a_conversation_may_change_its_dialect_between_a_call_and_its_return(client: Letta, minds: list[Mind]) -> None:
    agent = client.agents.create(name="Ada", **minds[0].agent)
    client.agents.tools.update_approval("conversation_search", agent_id=agent.id, body_requires_approval=True)
    for mind, other in zip(minds, [*minds[1:], minds[0]], strict=True):
        client.agents.update(agent.id, **mind.agent)
        (asked,) = [frame for frame in say(client, agent.id, "go") if frame.message_type == "approval_request_message"]
        calls = [call.tool_call_id for call in asked.tool_calls]
        assert len(calls) == 2
        client.agents.update(agent.id, **other.agent)
        approvals: Any = [{"type": "approval", "tool_call_id": id_, "approve": True} for id_ in calls]
        assert "answer" in told(send(client, agent.id, {"type": "approval", "approvals": approvals}))
    check_nothing_foreign(minds)


def test_whatever_clients_write_into_a_history_every_dialect_takes_it(client: Letta, minds: list[Mind]) -> None:
    begun: list[Any] = [
        {"role": "assistant", "content": "Hi, I am Ada."},
        {"role": "assistant", "content": "Who are you?"},
        {"role": "system", "content": "It is late."},
    ]
    agent = client.agents.create(name="Ada", **minds[0].agent, initial_message_sequence=begun)
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    linked = {"type": "image", "source": {"type": "url", "url": f"data:image/png;base64,{PNG}"}}
    odd: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture, linked]},
        {"role": "user", "content": [picture]},
        {"role": "user", "content": ""},
        {"role": "system", "content": "Speak low."},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": "“\u2028\U0001f600\x7f”", "name": "Łukasz of 9 o'clock"},
    ]
    for mind in minds:
        client.agents.update(agent.id, **mind.agent)
        for message in odd:
            assert "answer" in told(send(client, agent.id, message)), (mind.name, message)
    check_nothing_foreign(minds)


@pytest.mark.parametrize("mind", MINDS, ids=lambda mind: mind.name)
def test_a_reply_that_broke_off_is_told_and_leaves_a_history_that_every_dialect_takes(
    client: Letta, minds: list[Mind], mind: type[Mind]
) -> None:
    own = next(one for one in minds if isinstance(one, mind))
    others = [one for one in minds if one is not own]
    agent = client.agents.create(name="Ada", **own.agent)
    for number, where in enumerate(own.broken(1000)):
        own.endpoint.script(own.broken(1001 + number)[where])
        with pytest.raises(APIStatusError) as failed:  # the SDK makes an exception of the stream's error frame
            say(client, agent.id, where)
        body: Any = failed.value.body
        assert body["error_type"] == "llm_error", where
        own.endpoint.answer_with(own.answer)
        assert "answer" in told(say(client, agent.id, "and again")), where
    for other in others:
        client.agents.update(agent.id, **other.agent)
        assert "answer" in told(say(client, agent.id, "and you?"))
    check_nothing_foreign(minds)
