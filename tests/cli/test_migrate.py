"""`tertulia migrate`: a server's data moved from SQLite to Postgres, and what the command tells."""

import asyncio
import base64
import itertools
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from click.testing import CliRunner, Result
from letta_client import Letta

from tertulia.cli import main
from tertulia.cli.about_keys import about_keys
from tertulia.domain.providers import StoredProvider
from tertulia.settings import Settings
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.schema import SCHEMA_REVISION
from tertulia.store.secrets import FernetSecrets
from tertulia.store.sqlite.store import open_sqlite
from tests.contracts.store.makers import stored_agent
from tests.support.databases import FAST, bare_database, shared_directory
from tests.support.openai_endpoint import OpenAIEndpoint, call, calls, text
from tests.support.server_process import ForkedServer

pytestmark = pytest.mark.slow

MODEL: Final = "openai/gpt-4o-mini"
BASH: Final[Any] = {"name": "Bash", "parameters": {"type": "object", "properties": {}}}
_NOT_DATA: Final = ("/v1/health",)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    server = embedded_pg.start(shared_directory(), FAST)
    yield server.url
    server.close()


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with bare_database(postgres, f"moved_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as made:
        yield made


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERTULIA_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["migrate", *arguments])


def moved(data_dir: Path, url: str) -> Result:
    return run("copy", "--from", f"sqlite:///{data_dir}/tertulia.db", "--to", url)


def make_data(client: Letta, endpoint: OpenAIEndpoint) -> None:
    """Agents, forks, memory edits, searches' words, runs in the background, calls that wait, and a stored provider."""
    client.with_options().post(
        "/v1/providers/",
        cast_to=object,
        body={"name": "box", "provider_type": "vllm", "api_key": "sk-box", "base_url": endpoint.url},
    )
    shared = client.blocks.create(label="team", value="Naïve, Über, 東京", tags=["z", "É"])
    for name in ("Zoë", "adam"):
        agent = client.agents.create(
            name=name,
            model=MODEL,
            tags=["b", "Ω", name],
            block_ids=[shared.id],
            memory_blocks=[{"label": "human", "value": "Chad"}],
        )
        memory = call("memory_insert", {"label": "human", "new_string": "likes tea"})
        endpoint.script(calls(memory), text("Tea it is, tea."), text("A red fox."), text("Nothing."))
        client.agents.messages.create(agent.id, input="I like tea")
        conversation = client.conversations.create(agent_id=agent.id, extra_body={"isolated_block_labels": ["human"]})
        list(
            client.conversations.messages.create(conversation.id, input="Tell me of the fox and of tea", streaming=True)
        )
        client.agents.messages.create(agent.id, input="Some more words on tea, and what goes with tea of all sorts")
        fork = client.conversations.fork(conversation.id)
        endpoint.script(text("In the fork, tea."))
        list(client.conversations.messages.create(fork.id, input="fox", background=True))
        endpoint.script(calls(call("Bash", {}, "call_waits")))
        list(client.conversations.messages.create(fork.id, input="waits", client_tools=[BASH]))
    step = client.steps.list().items[0]
    client.steps.feedback.create(step.id, feedback="positive", tags=["kept"])


def every_answer(url: str) -> dict[str, bytes]:
    """The body of every GET that there is: lists in both orders and by pages, each thing they name, and searches."""
    with httpx.Client(base_url=url, timeout=20, verify=False) as http:
        spec = http.get("/openapi.json").json()
        paths = [path for path, methods in spec["paths"].items() if "get" in methods and not path.startswith(_NOT_DATA)]
        found: dict[str, bytes] = {}

        def ask(path: str, **query: Any) -> Any:
            reply = http.get(path, params=query)
            found[str(reply.request.url.raw_path)] = reply.content
            return reply.json()

        ids: dict[str, list[str]] = {"block_label": ["human", "team", "none"]}
        for path in paths:
            if "{" not in path:
                listed = _pages(ask, path)
                ids[f"{path.strip('/').removeprefix('v1/').removesuffix('s')}_id"] = listed
        assert {"agent_id", "block_id", "conversation_id", "message_id", "provider_id", "run_id", "step_id"} <= {*ids}
        for path in paths:
            names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
            for values in itertools.product(*(ids.get(name, ["none"]) for name in names)):
                if names:
                    ask(path.format(**dict(zip(names, values, strict=True))))
        for query, agent_id in itertools.product(("tea", "fox tea", "naïve", "RED", "words"), (None, *ids["agent_id"])):
            for path in ("/v1/messages/search", "/v1/conversations/search"):
                body = {"query": query, "limit": 5, "agent_id": agent_id}
                found[f"{path} {body}"] = http.post(path, json=body).content
        for run_id in ids["run_id"]:
            found[f"stream of {run_id}"] = http.post(f"/v1/runs/{run_id}/stream", json={}).content
        return found


def _pages(ask: Any, path: str) -> list[str]:
    """The ids of a list, which is asked for at once, and in both orders by pages of two."""
    whole: list[dict[str, str]] | int = ask(path, limit=1000)
    if isinstance(whole, int) or not all("id" in one for one in whole):
        return []
    for order in ("asc", "desc"):
        after = None
        for _ in range(100):
            page = ask(path, limit=2, order=order, **({"after": after} if after else {}))
            if not page or page[-1]["id"] == after:
                break
            after = page[-1]["id"]
    return list(dict.fromkeys(one["id"] for one in whole))


def test_a_server_on_postgres_answers_byte_for_byte_as_the_one_on_sqlite_did(data_dir: Path, url: str) -> None:
    with OpenAIEndpoint() as endpoint:
        environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": endpoint.url, "TERTULIA_DEFAULT_MODEL": MODEL}
        with ForkedServer(data_dir, environment) as server:
            make_data(Letta(base_url=server.url, api_key="x", max_retries=0), endpoint)
            refused = moved(data_dir, url)
            assert refused.exit_code == 2
            assert "Stop it first" in refused.output
            expected = every_answer(server.url)
        result = moved(data_dir, url)
        assert result.exit_code == 0, result.output
        assert "the same as in" in result.output
        assert "decrypts the credentials of 1 stored provider (box)" in result.output
        key = (data_dir / "secret.key").read_text()
        with ForkedServer(data_dir, {**environment, "TERTULIA_DB": url, "TERTULIA_SECRET_KEY": key}) as server:
            answered = every_answer(server.url)
            endpoint.script(text("Welcome."))
            client = Letta(base_url=server.url, api_key="x", max_retries=0)
            agent = client.agents.list(order="asc").items[0]
            client.agents.messages.create(agent.id, input="and now?")
    assert len(expected) > 200
    assert {what for what in expected if answered.get(what) != expected[what]} == set()
    assert answered == expected


def stored(data_dir: Path) -> None:
    async def store() -> None:
        opened = await open_sqlite(data_dir / "tertulia.db")
        await stored_agent(opened)
        await opened.close()

    asyncio.run(store())


def test_what_stands_in_the_way_is_told_in_a_sentence(data_dir: Path, url: str, tmp_path: Path) -> None:
    stored(data_dir)
    assert moved(data_dir, url).exit_code == 0
    for source, target, told in (
        (f"sqlite:///{data_dir}/tertulia.db", url, "already holds data (agents). Copy into an empty database."),
        (f"sqlite:///{tmp_path}/none.db", url, f"There is no database {tmp_path}/none.db"),
        ("mysql://x/y", url, "--from: 'mysql://x/y' is not supported"),
        (f"sqlite:///{data_dir}/tertulia.db", "oracle", "--to: 'oracle' is not supported"),
        (f"sqlite:///{data_dir}/tertulia.db", "postgresql://127.0.0.1:1/x", "127.0.0.1:1/x cannot be opened"),
        (url, url, "already holds data"),
    ):
        result = run("copy", "--from", source, "--to", target)
        assert (result.exit_code, told in result.output) == (2, True), result.output
        assert "Traceback" not in result.output


def test_an_old_database_is_brought_to_the_newest_schema(data_dir: Path) -> None:
    assert f"tertulia.db has the schema {SCHEMA_REVISION}" in run("up").output
    connection = sqlite3.connect(data_dir / "tertulia.db")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA_REVISION,)]
    connection.close()


OLD, NEW, LOST = (base64.urlsafe_b64encode(bytes([number] * 32)).decode() for number in range(3))


def provider(name: str, key: str) -> StoredProvider:
    secret = FernetSecrets([key], None).seal(b"sk-secret")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return StoredProvider(id=name, name=name, provider_type="vllm", secret=secret, created_at=now, updated_at=now)


def test_the_keys_that_a_copy_needs_are_told(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir.mkdir()
    (data_dir / "secret.key").write_text(OLD)
    stored_ones = [provider("kept", OLD), provider("given", NEW), provider("lost", LOST)]
    monkeypatch.setenv("TERTULIA_SECRET_KEY", NEW)
    with_key, to_postgres = Settings(), Settings(db="postgresql://x/y")
    given, kept, lost = about_keys(stored_ones, with_key, to_postgres)
    assert given == (
        "TERTULIA_SECRET_KEY decrypts the credentials of 1 stored provider (given): start the servers with the same "
        "value."
    )
    assert kept == (
        f"The key in {data_dir}/secret.key decrypts the credentials of 1 stored provider (kept): start the servers "
        "with TERTULIA_SECRET_KEY, a comma and the contents of that file added."
    )
    assert "(lost) cannot be decrypted with any key at hand" in lost
    monkeypatch.delenv("TERTULIA_SECRET_KEY")
    (kept,) = about_keys(stored_ones[:1], Settings(db=f"sqlite:///{data_dir}/other.db"), Settings(db="embedded-pg"))
    assert kept.endswith(f"TERTULIA_SECRET_KEY set to the contents of that file, or with a copy of it in {data_dir}.")
    assert about_keys([], with_key, to_postgres) == []
