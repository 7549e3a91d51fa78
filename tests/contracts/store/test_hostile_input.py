"""What somebody may send to do harm, in every input of every operation: refused or kept, on each database the same."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tertulia.api.router import build_api
from tertulia.app import close_services
from tertulia.ports.store import Store
from tertulia.store.sqlite.store import open_sqlite
from tests.conformance.operations import SUPPORTED
from tests.conformance.schema import operation
from tests.conformance.wire import find_error_problems
from tests.support.asgi import Exchange
from tests.support.databases import Database
from tests.support.hostile_input import NOT_JSON, Probe, Prober
from tests.support.scripted import ScriptedCatalogue
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables

_SENDING = (
    "send_message",
    "create_agent_message_async",
    "create_agent_message_stream",
    "send_conversation_message",
    "preview_model_request",
    "preview_conversation_model_request",
)
BODIES = {
    **{name: {"input": "hi"} for name in _SENDING},
    **{name: {"base_url": "http://127.0.0.1:9"} for name in ("create_provider", "check_provider")},
}
"""What is sent besides, where a body without it would be refused for that."""
_EMPTY_SEGMENT = ("PATCH", "nothing")
"""Such a path is another operation's, if it is any's."""
_OF_TIME = {409}
"""What a conversation answers as long as it is busy."""
ASKS_ELSEWHERE = {"check_provider"}
"""What passes on how others answer, which here is not at all (502)."""


@asynccontextmanager
async def _served(store: Store) -> AsyncGenerator[FastAPI]:
    services = services_over(store, ScriptedCatalogue())
    await services.runs.open()
    yield build_api(services)
    await close_services(services)


@pytest.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[FastAPI]:
    async with _served(await open_sqlite(with_tables(tmp_path / "tertulia.db"))) as api:
        yield api


@pytest.fixture
async def on_postgres(postgres_database: Database) -> AsyncIterator[FastAPI]:
    async with postgres_database.emptied() as store, _served(store) as api:
        yield api


async def _ids(api: FastAPI) -> dict[str, str]:
    """Of one thing of each kind, by the names that parameters have."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://localhost") as http:
        human = {"label": "human", "value": "Ann"}
        forgetful = {"message_buffer_autoclear": True}  # or long messages are read again with each of the next
        agent = (await http.post("/v1/agents/", json={"name": "Ada", "memory_blocks": [human], **forgetful})).json()
        path = f"/v1/agents/{agent['id']}/messages"
        reply = (await http.post(path, json={"input": "hello", "streaming": False})).json()
        conversation = await http.post("/v1/conversations/", params={"agent_id": agent["id"]}, json={})
        return {
            "agent_id": agent["id"],
            "conversation_id": conversation.json()["id"],
            "block_id": agent["memory"]["blocks"][0]["id"],
            "block_label": "human",
            "archive_id": (await http.post("/v1/archives/", json={"name": "a"})).json()["id"],
            "tool_id": agent["tools"][0]["id"],
            "tool_name": agent["tools"][0]["name"],
            "message_id": reply["messages"][0]["id"],
            "run_id": reply["usage"]["run_ids"][0],
            "step_id": reply["messages"][0]["step_id"],
            "provider_id": "provider-none",
        }


def _complaints(probe: Probe, status: int, body: bytes) -> list[str]:
    if status >= 500 and status != 501 and not (status == 502 and probe.operation in ASKS_ELSEWHERE):
        return [f"{probe}: {status}: {body[:200]!r}"]
    if status >= 400 and (problems := find_error_problems(body)):
        return [f"{probe}: {status}: {problems[0]}"]
    named = "not valid JSON" if probe.what in NOT_JSON else probe.input.split(".")[0]
    if status == 422 and (probe.method, probe.what) != _EMPTY_SEGMENT and named.encode() not in body:
        return [f"{probe}: the refusal does not name it: {body[:200]!r}"]
    return []


@pytest.mark.slow
async def test_no_value_of_any_input_fails_the_server_and_a_refusal_names_the_input(
    on_sqlite: FastAPI, on_postgres: FastAPI
) -> None:
    """Whatever is not refused for its shape comes to the store, so PostgreSQL is asked as well, and says the same."""
    document = httpx.Response(200, content=(await _asked(on_sqlite, "GET", "/openapi.json")).body).json()
    known, wrong, tried = Prober(document, BODIES), list[str](), set[str]()
    ids = {id(api): await _ids(api) for api in (on_sqlite, on_postgres)}
    for probe in known.probes():
        reply = await _asked(on_sqlite, probe.method, probe.at(ids[id(on_sqlite)]), probe.body)
        tried.update(probe.input.replace("[]", "").split("."))
        wrong += _complaints(probe, reply.status or 0, reply.body)
        if reply.status != 422:
            again = await _asked(on_postgres, probe.method, probe.at(ids[id(on_postgres)]), probe.body)
            if len({again.status, reply.status} - _OF_TIME) > 1:
                wrong.append(f"{probe}: {reply.status} on SQLite, {again.status} on PostgreSQL: {again.body[:200]!r}")
    assert wrong == []
    assert {name for sdk in SUPPORTED for name in _inputs(sdk)} <= tried


async def _asked(api: FastAPI, method: str, address: str, body: bytes | None = None) -> Exchange:
    return await Exchange(api, method, address, body, {"host": "localhost"}).end()


def _inputs(sdk: str) -> set[str]:
    """What the SDK sends with an operation."""
    known = operation(sdk)
    return {*known.query, *known.body}
