"""Workers that are stopped and started one after the other under load, behind a balancer that asks who is ready."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import httpx

from tests.support.cluster import HTTP, Cluster, Talk, client, wait_for
from tests.support.following import Told, read
from tests.support.openai_endpoint import ChatRequest, Delay, Gate, OpenAIEndpoint, Pause, Reply, Send, text
from tests.support.server_process import ServerProcess

CONVERSATIONS, MESSAGES = 6, 2


def _answer(request: ChatRequest) -> Reply:
    """Words with time between them, then what was asked."""
    paced = [act for _ in range(5) for act in (Send({"content": "word "}), Delay(0.02))]
    return [*paced, *text(f"to {request.last_user_text}")]


class Balancer:
    """Sends each request to the next server in turn that is not about to stop."""

    def __init__(self, servers: list[ServerProcess]) -> None:
        self._servers = servers
        self._turns = cycle(servers)
        self._out: set[ServerProcess] = set()
        self._lock = threading.Lock()

    def url(self) -> str:
        with self._lock:
            return next(server for server in self._turns if server not in self._out).url

    def replace(self, cluster: Cluster, server: ServerProcess) -> None:
        """Stop it and start it again, as a rolling restart does."""
        server.terminate()
        wait_for("it to say that it stops", lambda: not _is_ready(server))
        with self._lock:
            self._out.add(server)
        server.wait_until_dead()
        cluster.begin(server)
        cluster.settle()
        with self._lock:
            self._out.remove(server)


def _is_ready(server: ServerProcess) -> bool:
    try:
        return HTTP.get(f"{server.url}/v1/health/ready").is_success
    except httpx.TransportError:
        return False


class Talker:
    """Says one thing after the other until it is enough; ``told`` is what became of each."""

    def __init__(self, balancer: Balancer, talk: Talk) -> None:
        self.talk = talk
        self.told: list[Told] = []
        self._balancer = balancer

    def talk_until(self, enough: threading.Event) -> None:
        with client() as http:
            while not enough.is_set():
                self.told.append(Told())
                self._say(http, f"m{len(self.told)}", self.told[-1])

    def _say(self, http: httpx.Client, said: str, told: Told) -> None:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": said, "otid": f"{self.talk.id}-{said}"}]}
        path = f"{self.talk.path}/messages"
        with http.stream("POST", f"{self._balancer.url()}{path}", json={**body, "stream_tokens": True}) as reply:
            assert reply.status_code == httpx.codes.OK, reply.read()
            for _ in told.add(reply.iter_lines()):
                pass
        while not told.done:
            assert told.ends[-1]["error_type"] == "stream_interrupted"
            assert told.run_id is not None
            read(http, self._balancer.url(), told.run_id, told)


def test_no_client_sees_more_of_a_rolling_restart_than_a_stream_to_be_gone_on_with(
    cluster: Cluster, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    held = [[Send({"content": "half "}), Pause(gate)]]
    endpoint.answer_with(lambda asked: held.pop() if held and asked.last_user_text == "hold" else _answer(asked))
    servers = cluster.members(2)
    balancer, enough = Balancer(servers), threading.Event()
    talkers = [Talker(balancer, Talk(servers[0])) for _ in range(CONVERSATIONS)]
    holding = Talk(servers[0])
    run_id = holding.begin(servers[0], "hold")  # a reply that does not end in time
    gate.wait_reached()
    with ThreadPoolExecutor(CONVERSATIONS) as pool:
        talking = [pool.submit(talker.talk_until, enough) for talker in talkers]
        for server in servers:
            wait_for("some messages", lambda: all(len(talker.told) > MESSAGES for talker in talkers))
            balancer.replace(cluster, server)
        enough.set()
        for each in talking:
            each.result()
    for talker in talkers:
        said = [f"m{number}" for number in range(1, len(talker.told) + 1)]
        assert [told.text for told in talker.told] == [f"{'word ' * 5}to {each}" for each in said]
        expected = [line for told, each in zip(talker.told, said, strict=True) for line in (each, told.text)]
        assert talker.talk.texts(servers[0]) == expected
        for told in talker.told:
            assert told.numbers == sorted(set(told.numbers))
    told = read(HTTP, servers[0].url, run_id)
    assert (told.text, told.resumed) == (f"{'word ' * 5}to hold", 1)
