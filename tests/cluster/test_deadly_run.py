"""A run whose tool kills every server that runs it: it is ended, and what was being answered beside it is answered."""

import os
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tertulia.engine.lifecycle.recovery import MAX_CUTS, SUSPICIOUS_CUTS
from tests.support.crashes import FAULTY, MODEL, environment_of
from tests.support.databases import Database
from tests.support.openai_endpoint import ChatRequest, Gate, OpenAIEndpoint, Pause, Reply, call, calls, text
from tests.support.server_process import ForkedServer


def _send(http: httpx.Client, conversation_id: str, words: str) -> None:
    """Sent, and not waited for: what kills the server does so once the message is stored, and may be as quick."""
    body = {"input": words, "background": True}
    path = f"/v1/conversations/{conversation_id}/messages"
    with suppress(httpx.TransportError), http.stream("POST", path, json=body) as reply:
        next(reply.iter_lines(), None)


def _end(http: httpx.Client, conversation_id: str) -> str:
    """How the conversation's run ended, which is waited for."""
    (run,) = http.get("/v1/runs/", params={"conversation_id": conversation_id}).raise_for_status().json()
    http.post(f"/v1/runs/{run['id']}/stream", json={}).raise_for_status()
    return http.get(f"/v1/runs/{run['id']}").raise_for_status().json()["status"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a server that has it, whose lease is over soon after its death."""
    if request.param == "sqlite":
        return {}
    server: str = request.getfixturevalue("postgres")
    made = Database.made(server, f"deadly_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    return {"TERTULIA_DB": made.url, "TERTULIA_LEASE": "1"}


def test_a_run_that_kills_each_server_is_ended_and_those_beside_it_are_answered(
    tmp_path: Path, database: dict[str, str]
) -> None:
    effects, fault = tmp_path / "effects", tmp_path / "fault"
    effects.touch()
    fault.write_text("during_call always")

    def answer(request: ChatRequest) -> Reply:
        if request.last_user_text == "die":
            return calls(call("append_again", {"line": "x"}, "call_1"))
        # Those beside it are in the middle of their replies when it kills the first two.
        return [Pause(Gate())] if len(effects.read_text().splitlines()) < SUSPICIOUS_CUTS else text("fine")

    with OpenAIEndpoint() as endpoint:
        endpoint.answer_with(answer)
        environment = environment_of(endpoint, effects, fault) | database
        with (
            ForkedServer(tmp_path / "data", environment, module=FAULTY) as server,
            httpx.Client(base_url=server.url, timeout=30) as http,
        ):
            agent = {"name": "Ada", "model": MODEL, "tools": ["append_again"]}
            agent_id = http.post("/v1/agents/", json=agent).raise_for_status().json()["id"]
            path = f"/v1/conversations/?agent_id={agent_id}"
            *others, deadly = [http.post(path, json={}).raise_for_status().json()["id"] for _ in range(4)]
            for conversation_id in others:
                _send(http, conversation_id, "hello")
            _send(http, deadly, "die")
            server.wait_until_dead()
            for _ in range(MAX_CUTS - 1):
                server.launch()
                server.wait_until_dead()
            server.start()
            assert {_end(http, conversation_id) for conversation_id in others} == {"completed"}
            assert _end(http, deadly) == "failed"
            assert len(effects.read_text().splitlines()) == MAX_CUTS
