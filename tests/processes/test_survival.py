"""Whatever is sent, cancelled, forked, compacted and killed, in any order.

Nothing acknowledged is lost or doubled, every history is well formed, and every conversation takes the next message.
"""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.support.openai_endpoint import ChatRequest, OpenAIEndpoint, Reply, Send, call, calls, text
from tests.support.server_process import ServerProcess

ROUNDS, ACTIONS, KILLS = 3, 40, 3
REFUSALS = {400, 404, 409, 502, 503}


@dataclass
class Ledger:
    """What clients were told: the texts acknowledged in each conversation, and where a fork took off."""

    conversations: list[str] = field(default_factory=list[str])
    acknowledged: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, conversation_id: str, inherited: list[str] | None = None) -> None:
        with self.lock:
            self.conversations.append(conversation_id)
            self.acknowledged[conversation_id] = list(inherited or [])

    def next_text(self) -> str:
        with self.lock:
            self.sent += 1
            return f"message {self.sent}."

    def acknowledge(self, conversation_id: str, said: str) -> None:
        with self.lock:
            self.acknowledged[conversation_id].append(said)


class Client:
    """One thread that does random things to the conversations, through a server that may die under it."""

    def __init__(self, url: str, ledger: Ledger, seed: int) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, verify=False)
        self._ledger = ledger
        self._random = random.Random(seed)

    def act(self, times: int) -> None:
        with self._http:
            for _ in range(times):
                action = self._random.choice(
                    [self.send, self.send, self.stream, self.background, self.cancel, self.fork, self.compact]
                )
                try:
                    action(self._random.choice(self._ledger.conversations))
                except httpx.TransportError:
                    continue  # the server was killed: whatever was not answered may or may not have happened

    def send(self, conversation_id: str) -> None:
        said = self._ledger.next_text()
        reply = self._post(f"{conversation_id}/messages", {"input": said, "streaming": False})
        if reply.status_code == 200:
            self._ledger.acknowledge(conversation_id, said)

    def stream(self, conversation_id: str) -> None:
        """Read as far as a random frame, then leave."""
        said, wanted = self._ledger.next_text(), self._random.randrange(1, 12)
        body = {"input": said, "stream_tokens": True}
        with self._http.stream("POST", f"/v1/conversations/{conversation_id}/messages", json=body) as reply:
            if reply.status_code != 200:
                assert reply.status_code in REFUSALS, reply.read()
                return
            for number, _ in enumerate(reply.iter_lines()):
                if number == 0:
                    self._ledger.acknowledge(conversation_id, said)
                if number >= wanted:
                    return

    def background(self, conversation_id: str) -> None:
        said = self._ledger.next_text()
        body = {"input": said, "background": True}
        with self._http.stream("POST", f"/v1/conversations/{conversation_id}/messages", json=body) as reply:
            if reply.status_code == 200:
                next(reply.iter_lines())
                self._ledger.acknowledge(conversation_id, said)

    def cancel(self, conversation_id: str) -> None:
        self._post(f"{conversation_id}/cancel", None)

    def fork(self, conversation_id: str) -> None:
        with self._ledger.lock:
            inherited = list(self._ledger.acknowledged[conversation_id])
        reply = self._post(f"{conversation_id}/fork", None)
        if reply.status_code == 200 and len(self._ledger.conversations) < 8:
            self._ledger.add(reply.json()["id"], inherited)

    def compact(self, conversation_id: str) -> None:
        self._post(f"{conversation_id}/compact", {})

    def _post(self, path: str, body: Any) -> httpx.Response:
        reply = self._http.post(f"/v1/conversations/{path}", json=body)
        assert reply.status_code == 200 or reply.status_code in REFUSALS, reply.text
        return reply


def _reply(request: ChatRequest) -> Reply:
    """Every third answer calls a tool first; all say something in many pieces."""
    turn = len(request.messages)
    if turn % 3 == 0 and request.messages[-1]["role"] == "user" and request.tool_names:
        return calls(call("conversation_search", {"query": "message"}, f"call_{turn}"), say="let me look")
    return [Send({"content": f"part {n} "}) for n in range(6)] + text("done")


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_histories_survive_anything(server: ServerProcess, endpoint: OpenAIEndpoint, seed: int) -> None:
    endpoint.answer_with(_reply)
    ledger = Ledger()
    with httpx.Client(base_url=server.url, timeout=30, verify=False) as http:
        agent = http.post("/v1/agents/", json={"name": "Ada", "model": MODEL}).json()
        for _ in range(3):
            ledger.add(http.post("/v1/conversations/", params={"agent_id": agent["id"]}, json={}).json()["id"])
    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(Client(server.url, ledger, seed * 10 + n).act, ACTIONS) for n in range(3)]
        for kill in range(KILLS):
            _wait_for_messages(ledger, (kill + 1) * 12)
            server.kill()
            server.start()
        for work in working:
            work.result()
    server.kill()
    server.start()
    with httpx.Client(base_url=server.url, timeout=30, verify=False) as http:
        for run in http.get("/v1/runs/", params={"active": True}).json():  # what was left is gone on with
            http.post(f"/v1/runs/{run['id']}/stream", json={}).raise_for_status()
        for conversation_id in ledger.conversations:
            _check(http, conversation_id, ledger.acknowledged[conversation_id])
        assert http.get("/v1/runs/", params={"active": True}).json() == []


def _wait_for_messages(ledger: Ledger, count: int) -> None:
    pace = threading.Event()  # never set: other threads' progress is what is waited for
    for _ in range(2_000):
        if ledger.sent >= count:
            return
        pace.wait(0.01)


def _check(http: httpx.Client, conversation_id: str, acknowledged: list[str]) -> None:
    history = _history(http, conversation_id)
    said = Counter(message["content"] for message in history if message["message_type"] == "user_message")
    missing = [each for each in acknowledged if said[each] != 1]
    assert not missing, f"{conversation_id}: lost or doubled: {missing}"
    assert max(said.values(), default=1) == 1
    _check_pairs(history)
    reply = http.post(
        f"/v1/conversations/{conversation_id}/messages", json={"input": "still there?", "streaming": False}
    )
    assert reply.status_code == 200, reply.text


def _check_pairs(history: list[dict[str, Any]]) -> None:
    called = [
        call["tool_call_id"] for m in history if m["message_type"] == "tool_call_message" for call in m["tool_calls"]
    ]
    returned = [m["tool_call_id"] for m in history if m["message_type"] == "tool_return_message"]
    assert sorted(called) == sorted(returned)
    assert len(set(called)) == len(called)


def _history(http: httpx.Client, conversation_id: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while page := http.get(
        f"/v1/conversations/{conversation_id}/messages", params={"order": "asc", "limit": 100} | after
    ).json():
        messages += page
        after = {"after": page[-1]["id"]}
    return messages
