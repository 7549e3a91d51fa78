"""How long anyone else waits while one client does its worst: `python -m bench.waits [--only NAME ...]`.

Each load is begun on a server that has just started, and `bench.heartbeat` asks for `/v1/health` every 20 ms until
it is over. Prints JSON, milliseconds by load; `nothing` is what the machine itself makes everybody wait.
"""

import argparse
import asyncio
import dataclasses
import gzip
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

from bench.heartbeat import Waits, beating
from bench.processes import server

_MB: Final = 1024 * 1024
_LONG: Final = "a word and another " * (10 * _MB // 19)
_JSON: Final = MappingProxyType({"content-type": "application/json"})
_READERS: Final = 500


def _frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _called(arguments: str) -> dict[str, Any]:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call]}


def _reply(model: str) -> list[bytes]:
    """What the model says, in one piece or as many as it has."""
    match model:
        case "tiny":
            frames = [_frame({"content": "a "})] * 200_000
        case "large":
            frames = [_frame({"content": _LONG})]
        case "large-call":
            frames = [_frame(_called(json.dumps({"text": _LONG})))]
        case "call":
            frames = [_frame(_called("{}"))]
        case "slow":
            frames = [_frame({"content": f"word {number} "}) for number in range(200)]
        case _:
            frames = [_frame({"content": "Yes."})]
    called = model.endswith("call")
    return [*frames, _frame({}, "tool_calls" if called else "stop"), b"data: [DONE]\n\n"]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A model's endpoint: the model's name says what comes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body: dict[str, Any] = json.loads(await reader.readexactly(length) or b"{}")
    model = body.get("model", "")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    pieces = _reply(model)
    for piece in pieces if model == "slow" else [b"".join(pieces)]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01 if model == "slow" else 0)
    writer.close()


class Client:
    """The client that does its worst."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.agent_id = ""

    async def prepare(self, model: str, **fields: Any) -> None:
        made = await self.http.post("/v1/agents/", json={"model": f"openai/{model}", **fields})
        self.agent_id = made.raise_for_status().json()["id"]

    async def send(self, content: Any = "hi", **fields: Any) -> None:
        body = {"messages": [{"role": "user", "content": content}], "streaming": True, "stream_tokens": True, **fields}
        async with self.http.stream("POST", f"/v1/agents/{self.agent_id}/messages", json=body) as reply:
            async for _ in reply.aiter_raw():
                pass

    async def store(self, count: int, text: str = "something that was said") -> None:
        """Messages that ask for no reply of their own: the last of each request is answered."""
        at_once = min(1000, 5 * _MB // len(text))
        for start in range(0, count, at_once):
            some = [
                {"role": ("user", "assistant")[number % 2], "content": f"{number} {text}"}
                for number in range(start, min(count, start + at_once) - 1)
            ]
            await self.send_all([*some, {"role": "user", "content": "and?"}])

    async def send_all(self, messages: list[dict[str, Any]]) -> None:
        body = {"messages": messages, "streaming": False}
        (await self.http.post(f"/v1/agents/{self.agent_id}/messages", json=body)).raise_for_status()

    async def get(self, path: str) -> None:
        (await self.http.get(path)).raise_for_status()

    async def post(self, path: str, content: bytes, **headers: str) -> None:
        _ = await self.http.post(path, content=content, headers={**_JSON, **headers})


Load = Callable[[Client], Awaitable[None]]


async def _nothing(_: Client) -> None:
    await asyncio.sleep(3)


async def _tools(client: Client) -> None:
    tool: dict[str, Any] = {"name": "lookup", "description": "d", "parameters": {"type": "object", "properties": {}}}
    await client.send(client_tools=[tool])


async def _tool_return(client: Client) -> None:
    await _tools(client)
    answer = {"type": "tool", "tool_call_id": "call_1", "tool_return": _LONG[:2_000_000], "status": "success"}
    await client.send_all([{"type": "approval", "approvals": [answer]}])


async def _long_message(client: Client) -> None:
    await client.send([{"type": "text", "text": _LONG[:1_900_000]}] * 5)


async def _readers(client: Client) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "background": True, "streaming": True}
    async with client.http.stream("POST", f"/v1/agents/{client.agent_id}/messages", json=body) as reply:
        line = await anext(line async for line in reply.aiter_lines() if "run_id" in line)
        run_id = json.loads(line.removeprefix("data: "))["run_id"]

        async def read() -> None:
            path = f"/v1/runs/{run_id}/stream"
            async with client.http.stream("POST", path, json={"starting_after": 0}) as stream:
                async for _ in stream.aiter_raw():
                    pass

        await asyncio.gather(*(read() for _ in range(_READERS)))


async def _pages(client: Client) -> None:
    for _ in range(3):
        await client.get(f"/v1/agents/{client.agent_id}/messages?limit=1000")


async def _thousand_agents(client: Client) -> None:
    for _ in range(3):
        await client.get("/v1/agents/?limit=2000")


async def _make_agents(client: Client) -> None:
    for _ in range(2000):
        await client.prepare("m")


async def _make_conversations(client: Client) -> None:
    for _ in range(3000):
        await client.post(f"/v1/conversations/?agent_id={client.agent_id}", b"{}")


async def _delete(client: Client) -> None:
    _ = await client.http.delete(f"/v1/agents/{client.agent_id}")


LOADS: Final[MappingProxyType[str, tuple[str, Load | None, Load]]] = MappingProxyType(
    {
        "nothing": ("m", None, _nothing),
        "200,000 tiny deltas": ("tiny", None, lambda it: it.send()),
        "10 MB in one delta": ("large", None, lambda it: it.send()),
        "10 MB of arguments": ("large-call", None, _tools),
        "2 MB returned": ("call", None, _tool_return),
        "9.5 MB message": ("m", None, _long_message),
        "500 readers": ("slow", None, _readers),
        "first openapi": ("m", None, lambda it: it.get("/openapi.json")),
        "first metrics": ("m", None, lambda it: it.get("/metrics")),
        "first context window": ("m", None, lambda it: it.get(f"/v1/agents/{it.agent_id}/context")),
        "20,000 messages stored": ("m", None, lambda it: it.store(20_000)),
        "20,000 messages compacted": (
            "m",
            lambda it: it.store(20_000),
            lambda it: it.post(f"/v1/agents/{it.agent_id}/summarize", b"{}"),
        ),
        "pages of 100 KB messages": ("m", lambda it: it.store(300, "x " * 50_000), _pages),
        "2,000 agents": ("m", _make_agents, _thousand_agents),
        "3,000 conversations deleted": ("m", _make_conversations, _delete),
        "gzip bomb": (
            "m",
            None,
            lambda it: it.post("/v1/blocks/", gzip.compress(b" " * 500 * _MB), **{"content-encoding": "gzip"}),
        ),
        "3 million values": ("m", None, lambda it: it.post("/v1/blocks/", b"[" + b"0," * 3_000_000 + b"0]")),
        "190,000 values": (
            "m",
            None,
            lambda it: it.post("/v1/blocks/", b'{"metadata": {"a": [' + b"0," * 190_000 + b"0]}}"),
        ),
        "deep JSON": ("m", None, lambda it: it.post("/v1/blocks/", b"[" * 3_000_000)),
    }
)


async def _measured(name: str, endpoint: int) -> Waits:
    model, before, load = LOADS[name]
    limits = httpx.Limits(max_connections=None)
    tertulia = Path(sys.executable).with_name("tertulia")
    with tempfile.TemporaryDirectory() as folder, server(tertulia, Path(folder), endpoint) as child:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{child.port}", timeout=600, limits=limits) as http:
            client = Client(http)
            await client.prepare(model)
            if before is not None:
                await before(client)
            with beating(child.port) as pulse:
                await load(client)
    return pulse.waits


async def _all(names: list[str]) -> dict[str, dict[str, float]]:
    endpoint = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=64 * _MB)
    port = endpoint.sockets[0].getsockname()[1]
    found: dict[str, dict[str, float]] = {}
    for name in names:
        waits = await _measured(name, port)
        found[name] = dataclasses.asdict(waits)
        print(f"{name:30} {waits.max:8.1f} ms", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waits", description=__doc__)
    _ = parser.add_argument("--only", action="append", choices=LOADS, help="this load alone")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(_all(given.only or list(LOADS))), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
