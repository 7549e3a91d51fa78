"""What the tests of crash points share: a server that dies where it is told to, and what can be seen afterwards."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tertulia.ports.faults import Point
from tests.support.openai_endpoint import ChatRequest, OpenAIEndpoint, Reply, Send, call, calls, text
from tests.support.server_process import ServerProcess

MODEL = "openai/gpt-4o-mini"
REPOSITORY = Path(__file__).parents[2]
FAULTY = "tests.support.faulty_server"


def environment_of(endpoint: OpenAIEndpoint, effects: Path, fault_file: Path) -> dict[str, str]:
    """What `tests.support.faulty_server` is started with."""
    return {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": endpoint.url,
        "TERTULIA_DEFAULT_MODEL": MODEL,
        "TERTULIA_MODEL_RETRIES": "0",
        "FAULT_FILE": str(fault_file),
        "EFFECTS": str(effects),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }


def answer(request: ChatRequest) -> Reply:
    """To a question, two calls of tools that write; to their returns, a text in several pieces."""
    if request.messages[-1]["role"] == "tool":
        return [*(Send({"content": f"{word} "}) for word in ["all", "of", "it", "is"]), *text("done")]
    if request.messages[-1]["content"] == "go":
        return calls(call("append_once", {"line": "a"}, "call_1"), call("append_again", {"line": "b"}, "call_2"))
    return text("fine")


@dataclass(slots=True)
class Crash(ABC):
    """``server`` is the one that dies, ``http`` asks whoever is there afterwards; ``effects`` is what tools wrote."""

    server: ServerProcess
    fault_file: Path
    http: httpx.Client
    effects: Path

    @abstractmethod
    def after_death(self) -> None:
        """Have somebody there to be asked."""

    def agent(self, *rules: dict[str, Any]) -> str:
        body = {"name": "Ada", "model": MODEL, "tools": ["append_once", "append_again"], "tool_rules": list(rules)}
        return self.http.post("/v1/agents/", json=body).raise_for_status().json()["id"]

    def conversation(self, agent_id: str) -> str:
        path = "/v1/conversations/"
        return self.http.post(path, params={"agent_id": agent_id}, json={}).raise_for_status().json()["id"]

    def dies_of(self, point: Point, path: str, body: dict[str, Any]) -> None:
        """Send what the server dies of at the point."""
        self.fault_file.write_text(point)
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{self.server.url}{path}", json=body, timeout=30, verify=False)
        self.server.wait_until_dead()
        assert not self.fault_file.exists()
        self.after_death()

    def run(self, conversation_id: str) -> dict[str, Any]:
        """The conversation's last run when it has ended; its stream is read to the end."""
        run_id = self.http.get("/v1/runs/", params={"conversation_id": conversation_id}).json()[0]["id"]
        self.http.post(f"/v1/runs/{run_id}/stream", json={}).raise_for_status()
        return self.http.get(f"/v1/runs/{run_id}").json()

    def history(self, conversation_id: str) -> list[dict[str, Any]]:
        path = f"/v1/conversations/{conversation_id}/messages"
        return self.http.get(path, params={"order": "asc", "limit": 100}).raise_for_status().json()

    def lines(self) -> Counter[str]:
        return Counter(" ".join(line.split()[:2]) for line in self.effects.read_text().splitlines())
