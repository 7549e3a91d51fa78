"""What one worker began another one stops, answers, waits for, repeats, compacts and forks."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.cluster import HTTP, Cluster, Talk, run_of, wait_for
from tests.support.following import Told, read
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text
from tests.support.server_process import ServerProcess

Pair = tuple[ServerProcess, ServerProcess]


def _held(endpoint: OpenAIEndpoint, *later: list[Any]) -> Gate:
    """The next reply says "half " and then waits at the gate; the others follow."""
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("done")], *later)
    return gate


def _status(server: ServerProcess, run_id: str) -> str:
    return run_of(server, run_id)["status"]


def test_a_run_is_cancelled_through_another_worker(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    gate, talk = _held(endpoint, text("next")), Talk(a)
    run_id = talk.begin(a, "go")
    gate.wait_reached()
    assert talk.post(b, "cancel").raise_for_status().json() == {run_id: "cancelled"}
    assert run_of(b, run_id)["status"] == "cancelled"
    assert endpoint.requests[0].left.wait(15)  # the model is asked no further
    assert talk.say(b, "and now?")["messages"][-1]["content"] == "next"


def test_an_approval_is_given_through_another_worker(servers: Pair, endpoint: OpenAIEndpoint, cluster: Cluster) -> None:
    a, b = servers
    rule = {"type": "requires_approval", "tool_name": "append_once"}
    talk = Talk(a, tools=["append_once"], tool_rules=[rule])
    endpoint.script(calls(call("append_once", {"line": "approved"}, "call_1")), text("thanks"))
    asked = talk.say(a, "go")
    assert asked["stop_reason"]["stop_reason"] == "requires_approval"
    answer = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1", "approve": True}]}
    reply = talk.post(b, "messages", {"messages": [answer], "streaming": False}).raise_for_status().json()
    assert reply["messages"][-1]["content"] == "thanks"
    assert cluster.effects.read_text().split()[:2] == ["append_once", "approved"]
    # Said again to the first worker, it is the same answer.
    talk.post(a, "messages", {"messages": [answer], "streaming": False})
    assert cluster.effects.read_text().count("approved") == 1


def test_a_busy_conversation_refuses_through_another_worker(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    gate, talk = _held(endpoint), Talk(a)
    run_id = talk.begin(a, "go")
    gate.wait_reached()
    refused = talk.post(b, "messages", {"input": "me too", "streaming": False, "busy_policy": "reject"})
    assert (refused.status_code, refused.json()["run_id"]) == (409, run_id)
    gate.open()
    read(HTTP, b.url, run_id)
    assert talk.texts(b) == ["go", "half done"]


def test_messages_wait_in_one_queue_whichever_workers_they_come_to(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    gate, talk = _held(endpoint, text("two"), text("three")), Talk(a)
    talk.begin(a, "go")
    gate.wait_reached()
    waiting = [talk.begin(b, "second", busy_policy="enqueue"), talk.begin(a, "third", busy_policy="enqueue")]
    assert [_status(b, run_id) for run_id in waiting] == ["created", "created"]
    gate.open()
    for run_id in waiting:
        assert read(HTTP, a.url, run_id).done
    assert talk.texts(b) == ["go", "half done", "second", "two", "third", "three"]


@pytest.mark.parametrize(("policy", "left"), [("interrupt", ["go", "half "]), ("rollback", [])])
def test_a_message_to_another_worker_goes_before_the_one_being_answered(
    servers: Pair, endpoint: OpenAIEndpoint, policy: str, left: list[str]
) -> None:
    a, b = servers
    gate, talk = _held(endpoint, text("at once")), Talk(a)
    run_id = talk.begin(a, "go")
    told = Told()
    wait_for("the first piece to be stored", lambda: _is_told(b, run_id, told))
    gate.wait_reached()
    reply = talk.say(b, "urgent", busy_policy=policy)
    assert reply["messages"][-1]["content"] == "at once"
    assert run_of(a, run_id)["status"] == "cancelled"
    assert talk.texts(a) == [*left, "urgent", "at once"]


def _is_told(server: ServerProcess, run_id: str, told: Told) -> bool:
    body = {"starting_after": told.last}
    with HTTP.stream("POST", f"{server.url}/v1/runs/{run_id}/stream", json=body) as reply:
        for _ in told.add(reply.iter_lines()):
            if told.text:
                return True
    return False


def test_a_message_that_is_sent_to_both_workers_is_one_message(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    talk = Talk(a)
    message = {"role": "user", "content": "go", "otid": "mine"}
    for round_ in range(5):
        message["otid"] = f"mine-{round_}"
        endpoint.script(text("once"), text("twice"))
        before = len(endpoint.requests)
        body = {"messages": [message], "streaming": False}
        with ThreadPoolExecutor(2) as pool:
            sending = [pool.submit(talk.post, server, "messages", body) for server in (a, b)]
            replies = [each.result().raise_for_status().json() for each in sending]
        assert {reply["messages"][-1]["content"] for reply in replies} == {"once"}
        assert len(endpoint.requests) == before + 1
    assert talk.texts(b) == ["go", "once"] * 5


def test_what_one_worker_compacts_and_forks_the_other_goes_on_with(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    talk = Talk(a)
    endpoint.script(text("one"), text("two"), text("three"), text("what was said"), text("four"), text("five"))
    for question, server in (("first", a), ("second", b), ("third", a)):
        talk.say(server, question)
    talk.post(b, "compact", {"compaction_settings": {"mode": "all"}}).raise_for_status()
    talk.say(a, "fourth")  # it had the old history in its memory
    shown = [str(message["content"]) for message in endpoint.requests[-1].messages]
    assert any("what was said" in content for content in shown)
    assert not any("first" in content for content in shown)
    fork = HTTP.post(f"{b.url}{talk.path}/fork").raise_for_status().json()
    path = f"/v1/conversations/{fork['id']}/messages"
    reply = HTTP.post(f"{a.url}{path}", json={"input": "fifth", "streaming": False})
    assert reply.raise_for_status().json()["messages"][-1]["content"] == "five"
    assert talk.texts(b)[-2:] == ["fourth", "four"]


def test_memory_that_one_worker_changes_the_other_shows_the_model(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    talk = Talk(a, memory_blocks=[{"label": "human", "value": "likes tea"}])
    talk.say(a, "hello")
    path = f"/v1/agents/{talk.agent_id}/core-memory/blocks/human"
    HTTP.patch(f"{b.url}{path}", json={"value": "likes coffee"}).raise_for_status()
    talk.say(a, "and now?")
    assert "likes coffee" in endpoint.requests[-1].system


def test_what_a_client_sends_again_to_another_worker_is_one_message_with_one_answer(
    servers: Pair, endpoint: OpenAIEndpoint
) -> None:
    a, b = servers
    gate, talk = _held(endpoint, text("in time")), Talk(a)
    body = {"input": "go", "stream_tokens": True}
    with HTTP.stream(
        "POST", f"{a.url}{talk.path}/messages", json=body, headers={"x-stainless-retry-count": "0"}
    ) as reply:
        lines = reply.iter_lines()  # kept: with it goes the connection, and with that the run
        next(lines)
        gate.wait_reached()
    assert endpoint.requests[0].left.wait(15)
    again = HTTP.post(f"{b.url}{talk.path}/messages", json=body, headers={"x-stainless-retry-count": "1"})
    assert "[DONE]" in again.text
    assert talk.texts(b) == ["go", "in time"]


def test_what_is_sent_again_after_its_worker_died_is_one_message_with_one_answer(
    servers: Pair, endpoint: OpenAIEndpoint, cluster: Cluster
) -> None:
    a, b = servers
    gate, talk = _held(endpoint, text("in time")), Talk(a)
    body, sent = {"input": "go", "stream_tokens": True}, {"x-stainless-retry-count": "0"}
    with HTTP.stream("POST", f"{a.url}{talk.path}/messages", json=body, headers=sent) as reply:
        lines = reply.iter_lines()  # kept: with it goes the connection, and with that the run
        next(lines)
        gate.wait_reached()
        a.kill()
    cluster.begin(a)
    again = HTTP.post(f"{b.url}{talk.path}/messages", json=body, headers={"x-stainless-retry-count": "1"})
    assert "[DONE]" in again.text
    assert talk.texts(b) == ["go", "in time"]
