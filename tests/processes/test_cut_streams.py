"""A stream that is cut anywhere and gone on with is the stream that was never cut."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.processes.raw_stream import frames, read_stream
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text
from tests.support.server_process import ServerProcess

CUTS = 200


def _new_agent(server: ServerProcess) -> str:
    body = {"name": "Ada", "model": MODEL, "memory_blocks": [{"label": "human", "value": "Ann"}]}
    reply = httpx.post(f"{server.url}/v1/agents/", json=body, verify=False)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def _send(agent_id: str, *, stream_tokens: bool) -> tuple[str, dict[str, Any]]:
    path = f"/v1/agents/{agent_id}/messages/stream"
    return path, {"input": "go", "background": True, "stream_tokens": stream_tokens}


@pytest.mark.parametrize("stream_tokens", [True, False])
def test_cut_at_a_random_byte_two_hundred_times_the_joined_stream_equals_the_uncut_one(
    server: ServerProcess, endpoint: OpenAIEndpoint, stream_tokens: bool
) -> None:
    agent_id = _new_agent(server)
    words = [f"wörd{n} " for n in range(60)]
    endpoint.script(calls(call("memory_insert", {"label": "human", "new_string": "likes tea"}), say="a"), text(*words))
    path, body = _send(agent_id, stream_tokens=stream_tokens)
    uncut = read_stream(server.url, path, body)
    whole = frames(uncut)
    run_id = whole[0]["run_id"]
    choose = random.Random(7)  # the same cuts every time
    for _ in range(CUTS):
        cut = choose.randrange(len(uncut))
        resume = f"/v1/runs/{run_id}/stream"
        first = frames(read_stream(server.url, resume, {"starting_after": 0}, stop_after=cut))
        numbered = [frame["seq_id"] for frame in first if frame.get("seq_id")]
        rest = frames(read_stream(server.url, resume, {"starting_after": numbered[-1] if numbered else 0}))
        joined = [frame for frame in first if frame.get("seq_id")] + rest
        assert joined == whole


def test_a_stream_that_is_cut_while_the_reply_is_being_made_goes_on_where_it_was(
    server: ServerProcess, endpoint: OpenAIEndpoint
) -> None:
    agent_id, gate = _new_agent(server), Gate()
    endpoint.script([*(Send({"content": f"a{n} "}) for n in range(20)), Pause(gate), *text("the ", "end")])
    path, body = _send(agent_id, stream_tokens=True)
    first = frames(read_stream(server.url, path, body, stop_after=2_000))
    gate.open()
    numbered = [frame["seq_id"] for frame in first]
    rest = frames(read_stream(server.url, f"/v1/runs/{first[0]['run_id']}/stream", {"starting_after": numbered[-1]}))
    said = "".join(frame["content"] for frame in first + rest if frame.get("message_type") == "assistant_message")
    assert said == "".join(f"a{n} " for n in range(20)) + "the end"
    assert [frame["seq_id"] for frame in first + rest if frame.get("seq_id")] == list(range(1, len(first + rest) - 1))


def test_a_background_run_is_read_whole_after_the_server_was_killed_and_started_again(
    server: ServerProcess, endpoint: OpenAIEndpoint
) -> None:
    agent_id = _new_agent(server)
    endpoint.script(text(*(f"w{n} " for n in range(50))))
    path, body = _send(agent_id, stream_tokens=True)
    before = frames(read_stream(server.url, path, body))
    server.kill()
    server.start()
    after = frames(read_stream(server.url, f"/v1/runs/{before[0]['run_id']}/stream", {"starting_after": 0}))
    assert after == before


def test_identical_requests_at_the_same_instant_are_one_run_each_time(
    server: ServerProcess, endpoint: OpenAIEndpoint
) -> None:
    agent_id = _new_agent(server)
    for round_ in range(100):
        endpoint.script(text("once"))
        before = len(endpoint.requests)
        message = {"role": "user", "content": "hi", "otid": f"otid-{round_}"}
        results = _at_once(server, agent_id, {"messages": [message]}, 20 if round_ == 0 else 2)
        assert {reply.status_code for reply in results} == {200}
        assert len({reply.json()["usage"]["run_ids"][0] for reply in results}) == 1
        assert len(endpoint.requests) == before + 1


def _at_once(server: ServerProcess, agent_id: str, body: dict[str, Any], count: int) -> list[httpx.Response]:
    path, together = f"{server.url}/v1/agents/{agent_id}/messages", Barrier(count)

    def post(_: int) -> httpx.Response:
        together.wait()
        return httpx.post(path, json=body, timeout=20, verify=False)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(post, range(count)))
