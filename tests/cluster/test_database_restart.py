"""A database that is restarted under load: requests fail clearly or succeed, and the service comes back by itself."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.cluster import HTTP, Cluster, Talk, wait_for
from tests.support.databases import OwnPostgres, own_postgres
from tests.support.openai_endpoint import ChatRequest, Reply, Send, call, calls, text

CONVERSATIONS, RESTARTS = 6, 2


@pytest.fixture(scope="module")
def database() -> Iterator[OwnPostgres]:
    with own_postgres() as database:
        yield database


def _answer(request: ChatRequest) -> Reply:
    if request.messages[-1]["role"] != "tool":
        return calls(call("append_again", {"line": request.last_user_text}, f"call_{request.last_user_text}"))
    return [Send({"content": "done "}), *text(request.last_user_text)]


class Client:
    """Sends one message after the other, each until it is answered."""

    def __init__(self, talk: Talk, url: str) -> None:
        self.talk = talk
        self.answered: list[str] = []
        self.refused: list[httpx.Response] = []
        self._url = url

    def talk_until(self, enough: threading.Event) -> None:
        with httpx.Client(base_url=self._url, timeout=60, verify=False) as http:
            while not enough.is_set():
                self._say(http, f"m{len(self.answered)}")

    def _say(self, http: httpx.Client, said: str) -> None:
        message = {"role": "user", "content": said, "otid": f"{self.talk.id}-{said}"}
        pace = threading.Event()  # never set
        while True:
            reply = http.post(f"{self.talk.path}/messages", json={"messages": [message], "streaming": False})
            if reply.is_success:
                self.answered.append(reply.json()["messages"][-1]["content"])
                return
            assert reply.status_code in {409, 503}, reply.text  # 409: the run that a cut connection left is still there
            self.refused.append(reply)
            pace.wait(0.05)


def test_nothing_is_half_written_and_the_service_comes_back(database: OwnPostgres, tmp_path: Path) -> None:
    with Cluster(tmp_path, database.url, 1) as cluster:
        cluster.renew()
        cluster.endpoint.answer_with(_answer)
        (server,) = cluster.members(1)
        clients = [Client(Talk(server, tools=["append_again"]), server.url) for _ in range(CONVERSATIONS)]
        enough = threading.Event()
        with ThreadPoolExecutor(CONVERSATIONS) as pool:
            talking = [pool.submit(client.talk_until, enough) for client in clients]
            for restart in range(1, RESTARTS + 2):
                wanted = restart * 10
                wait_for("messages to be answered", lambda n=wanted: all(len(each.answered) > n for each in clients))
                if restart <= RESTARTS:
                    asyncio.run(database.crash())
            enough.set()
            for each in talking:
                each.result()
        for client in clients:
            assert client.answered == [f"done m{number}" for number in range(len(client.answered))]
            expected = [text for number, said in enumerate(client.answered) for text in (f"m{number}", said)]
            assert client.talk.texts(server) == expected
            for reply in client.refused:
                assert reply.json()["detail"]
        assert HTTP.get(f"{server.url}/v1/runs/", params={"active": True}).json() == []
        assert HTTP.get(f"{server.url}/v1/health/ready").status_code == httpx.codes.OK
