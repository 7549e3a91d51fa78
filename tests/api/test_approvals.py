"""Calls that wait for their answer, over HTTP: how they are shown in every form, and every way of answering them."""

from typing import Any

import httpx
import pytest

from tertulia.domain.blocks import new_block
from tertulia.engine.agents import AgentDraft
from tests.conformance.schema import find_problems, reference
from tests.conformance.streams import find_stream_problems, parse_frames
from tests.support.scripted import calls, say
from tests.support.world import World

BASH: dict[str, Any] = {
    "name": "Bash",
    "description": "Run a command.",
    "parameters": {"type": "object", "properties": {}},
}
LS = ("b1", "Bash", '{"command": "ls"}')
CAT = ("b2", "Bash", '{"command": "cat"}')
INSERT = ("m1", "memory_insert", '{"label": "human", "new_string": "likes tea"}')
APPROVAL = {"type": "requires_approval", "tool_name": "memory_insert"}


class Talk:
    """One conversation with a client that runs Bash itself; memory_insert needs approval."""

    def __init__(self, client: httpx.AsyncClient, world: World, agent_id: str) -> None:
        self.client = client
        self.world = world
        self.agent_id = agent_id

    async def post(self, **fields: Any) -> httpx.Response:
        body: dict[str, Any] = {"streaming": False, "client_tools": [BASH]} | fields
        return await self.client.post(f"/v1/conversations/{self.agent_id}/messages", json=body)

    async def says(self, text: str, **fields: Any) -> dict[str, Any]:
        return (await self.post(input=text, **fields)).json()

    async def answers(self, *messages: dict[str, Any]) -> dict[str, Any]:
        reply = await self.post(messages=list(messages))
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def pending(self) -> list[str]:
        reply = await self.client.get(f"/v1/conversations/{self.agent_id}/approvals")
        return [call["tool_call_id"] for call in reply.json()]

    async def listed(self) -> list[dict[str, Any]]:
        return (await self.client.get(f"/v1/agents/{self.agent_id}/messages?order=asc")).json()[1:]


@pytest.fixture
async def talk(scripted: httpx.AsyncClient, world: World) -> Talk:
    draft = AgentDraft(memory_blocks=(new_block(label="human", value="Ann"),), tool_rules=(APPROVAL,))
    return Talk(scripted, world, (await world.agent(draft)).agent.id)


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in messages]


def ran(id_: str, output: str) -> dict[str, Any]:
    return {"type": "tool", "tool_call_id": id_, "tool_return": output, "status": "success"}


def approval(*answers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "approval", "approvals": list(answers)} | fields


async def test_all_calls_that_wait_are_one_message_of_a_blocking_reply(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(LS, INSERT))
    reply = await talk.says("look")
    assert not find_problems(reply, reference("LettaResponse"))
    (request,) = reply["messages"]
    assert request["message_type"] == "approval_request_message"
    assert request["tool_call"] == {"name": "Bash", "arguments": LS[2], "tool_call_id": "b1"}
    assert [call["tool_call_id"] for call in request["tool_calls"]] == ["b1", "m1"]
    assert reply["stop_reason"]["stop_reason"] == "requires_approval"
    (listed,) = (await talk.listed())[1:]
    assert {**listed, "date": request["date"]} == request


async def test_a_stream_of_tokens_has_each_piece_in_both_fields(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(LS, CAT))
    reply = await talk.post(input="look", streaming=True, stream_tokens=True)
    assert not find_stream_problems(reply.content, complete=True)
    pieces = [f.data for f in parse_frames(reply.content)[0] if f.type == "approval_request_message"]
    assert all(piece["tool_call"] == piece["tool_calls"] for piece in pieces)
    assert len({(piece["id"], piece["otid"]) for piece in pieces}) == 1
    joined = "".join(p["tool_call"]["arguments"] for p in pieces if p["tool_call"]["tool_call_id"] == "b2")
    assert joined == CAT[2]


async def test_a_stream_of_whole_messages_has_all_calls_in_one_frame(talk: Talk) -> None:
    talk.world.model.scripts.append([*calls(LS, CAT)])
    reply = await talk.post(input="look", streaming=True)
    assert not find_stream_problems(reply.content, complete=True)
    (request,) = [f.data for f in parse_frames(reply.content)[0] if f.type == "approval_request_message"]
    assert [call["tool_call_id"] for call in request["tool_calls"]] == ["b1", "b2"]
    assert request["seq_id"] == 2
    again = await talk.client.post(f"/v1/runs/{request['run_id']}/stream", json={"starting_after": 1})
    assert again.content == reply.content.partition(b"\n\n")[2]


@pytest.mark.parametrize(
    "answer",
    [approval(ran("b1", "a b")), {"type": "tool_return", "tool_returns": [ran("b1", "a b")]}],
    ids=["approvals", "tool_return"],
)
async def test_a_client_answers_with_what_its_tool_returned(talk: Talk, answer: dict[str, Any]) -> None:
    talk.world.model.scripts += [calls(LS), say("two files")]
    await talk.says("look")
    reply = await talk.answers(answer)
    assert types(reply["messages"]) == ["tool_return_message", "assistant_message"]
    assert reply["messages"][0]["tool_return"] == "a b"
    listed = await talk.listed()
    assert types(listed)[1:] == [
        "approval_request_message",
        "approval_response_message",
        "tool_return_message",
        "assistant_message",
    ]
    assert not find_problems(listed[2], reference("ApprovalResponseMessage"))
    assert listed[2]["approvals"] == [{**ran("b1", "a b"), "stdout": None, "stderr": None}]
    assert talk.world.model.requests[1].messages[-1].tool_returns[0].content == "a b"


async def test_a_denial_by_the_id_of_the_request_tells_the_model_why(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT), say("fine")]
    (request,) = (await talk.says("note it"))["messages"]
    denial = {"type": "approval", "approve": False, "approval_request_id": request["id"], "reason": "not yours"}
    reply = await talk.answers(denial)
    assert "not yours" in reply["messages"][0]["tool_return"]
    assert reply["messages"][0]["status"] == "error"
    response = (await talk.listed())[2]
    assert (response["approve"], response["reason"], response["approval_request_id"]) == (
        False,
        "not yours",
        request["id"],
    )
    assert response["approvals"] == [
        {"tool_call_id": "m1", "approve": False, "reason": "not yours", "type": "approval"}
    ]


async def test_an_approved_call_runs_here(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT), say("noted")]
    await talk.says("note it")
    reply = await talk.answers(approval({"type": "approval", "tool_call_id": "m1", "approve": True}))
    assert (reply["messages"][0]["status"], reply["stop_reason"]["stop_reason"]) == ("success", "end_turn")
    block = await talk.client.get(f"/v1/agents/{talk.agent_id}/core-memory/blocks/human")
    assert "likes tea" in block.json()["value"]


async def test_calls_are_answered_in_parts_and_listed_until_they_are(talk: Talk) -> None:
    talk.world.model.scripts += [calls(LS, INSERT), say("done")]
    await talk.says("both")
    assert await talk.pending() == ["b1", "m1"]
    reply = await talk.answers(approval({"tool_call_id": "m1", "approve": False}))
    assert reply["stop_reason"]["stop_reason"] == "requires_approval"
    assert await talk.pending() == ["b1"]
    reply = await talk.answers(approval(ran("b1", "a")))
    assert (reply["stop_reason"]["stop_reason"], await talk.pending()) == ("end_turn", [])


async def test_an_answer_and_a_message_can_come_together(talk: Talk) -> None:
    talk.world.model.scripts += [calls(LS), say("done")]
    await talk.says("look")
    reply = await talk.answers(approval(ran("b1", "a")), {"role": "user", "content": "and hurry"})
    assert types(reply["messages"]) == ["tool_return_message", "assistant_message"]
    sent = [message.role for message in talk.world.model.requests[1].messages if message.role != "approval"]
    assert sent == ["user", "assistant", "tool", "user"]


async def test_a_message_before_the_answer_is_409_in_the_words_clients_match(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(LS))
    await talk.says("look")
    reply = await talk.post(input="never mind")
    assert reply.status_code == 409
    assert "waiting for approval" in reply.json()["detail"]
    assert reply.json()["tool_call_ids"] == ["b1"]


async def test_an_answer_to_nothing_is_400_and_the_same_answer_twice_is_one(talk: Talk) -> None:
    nothing = await talk.post(messages=[approval(ran("b1", "a"))])
    assert nothing.status_code == 400
    assert "No tool call is currently awaiting approval" in nothing.json()["detail"]
    talk.world.model.scripts += [calls(LS), say("done")]
    await talk.says("look")
    first = await talk.answers(approval(ran("b1", "a")))
    assert await talk.answers(approval(ran("b1", "a"))) == first
    other = await talk.post(messages=[approval(ran("b1", "something else"))])
    assert other.status_code == 400
    assert len(talk.world.model.requests) == 2


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "approval"}],
        [{"type": "approval", "approvals": [{"type": "tool", "tool_call_id": "b1"}]}],
        [{"type": "tool_return", "tool_returns": []}],
        [approval(ran("b1", "a"), ran("b1", "b"))],
    ],
    ids=["neither form", "no return", "no returns", "one call twice"],
)
async def test_an_answer_that_says_nothing_or_too_much_is_422(talk: Talk, messages: list[dict[str, Any]]) -> None:
    assert (await talk.post(messages=messages)).status_code == 422


async def test_an_agent_shows_what_it_waits_for(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(LS))
    (request,) = (await talk.says("look"))["messages"]
    path = f"/v1/agents/{talk.agent_id}"
    shown = (await talk.client.get(path, params={"include": "agent.pending_approval"})).json()["pending_approval"]
    assert (shown["id"], shown["tool_calls"]) == (request["id"], request["tool_calls"])
    await talk.answers(approval(ran("b1", "a")))
    assert (await talk.client.get(path, params={"include": "agent.pending_approval"})).json()[
        "pending_approval"
    ] is None


async def test_a_client_is_told_of_two_tools_of_one_name(talk: Talk) -> None:
    assert (await talk.post(input="hi", client_tools=[BASH, BASH])).status_code == 422


async def test_skills_are_named_to_the_model_for_one_run_and_kept_nowhere(talk: Talk) -> None:
    skill = {"name": "browsing", "description": "Use a browser.", "location": "skills/browsing/SKILL.md"}
    await talk.says("hi", client_skills=[skill])
    await talk.says("again")
    told, later = (request.system for request in talk.world.model.requests)
    assert told.startswith(later)
    assert "<available_skills>" in told
    assert all(word in told for word in skill.values())
    assert "<available_skills>" not in (await talk.client.get(f"/v1/agents/{talk.agent_id}/messages")).text


async def test_a_tool_of_an_agent_is_made_to_wait_for_approval_and_let_go(talk: Talk) -> None:
    path = f"/v1/agents/{talk.agent_id}/tools/approval"
    rules = (await talk.client.patch(f"{path}/memory_insert", json={"requires_approval": False})).json()["tool_rules"]
    assert rules == []
    for _ in range(2):  # asking twice changes nothing
        reply = await talk.client.patch(f"{path}/memory_insert", json={"requires_approval": True})
        assert [(rule["type"], rule["tool_name"]) for rule in reply.json()["tool_rules"]] == [
            ("requires_approval", "memory_insert")
        ]
    query = await talk.client.patch(f"{path}/memory_insert", params={"requires_approval": False})
    assert query.json()["tool_rules"] == []
    assert (await talk.client.patch(f"{path}/unknown", json={"requires_approval": True})).status_code == 404
    assert (await talk.client.patch(f"{path}/memory_insert")).status_code == 422
    contradicting = await talk.client.patch(
        f"{path}/memory_insert", params={"requires_approval": False}, json={"requires_approval": True}
    )
    assert contradicting.status_code == 400


async def test_a_call_without_arguments_is_offered_with_an_empty_object(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(("b1", "Bash", "")))
    (request,) = (await talk.says("look"))["messages"]
    assert request["tool_call"]["arguments"] == "{}"
    pending = await talk.client.get(f"/v1/conversations/{talk.agent_id}/approvals")
    assert [call["arguments"] for call in pending.json()] == ["{}"]
