"""Stored providers over plain HTTP, which the SDK has no methods for, and their models through the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import MODEL, answer, detail, send, unique
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.openai_endpoint import OpenAIEndpoint, Refuse, text
from tests.support.server_process import ForkedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Store = Callable[..., dict[str, Any]]

KEY = "sk-stored-very-secret-0123456789"
SHOWN = {
    *("id", "name", "provider_type", "provider_category", "base_url", "region", "api_version"),
    *("created_at", "updated_at", "last_synced", "api_key", "access_key", "api_key_enc", "access_key_enc"),
}


@pytest.fixture(scope="module")
def other_endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as opened:
        yield opened


@pytest.fixture
def elsewhere(other_endpoint: OpenAIEndpoint) -> OpenAIEndpoint:
    """A model server that the settings do not have."""
    other_endpoint.reset()
    return other_endpoint


@pytest.fixture
def store(client: Letta, http: httpx.Client, elsewhere: OpenAIEndpoint) -> Iterator[Store]:
    """Stores a provider at `elsewhere`, with the SDK's way of calling what it has no method for."""
    ids: list[str] = []

    def make(**fields: Any) -> dict[str, Any]:
        body = {"name": unique("own"), "provider_type": "openai", "api_key": KEY, "base_url": elsewhere.url} | fields
        made: Any = client.post("/v1/providers/", body=body, cast_to=object)
        ids.append(made["id"])
        return made

    yield make
    for id_ in ids:
        http.delete(f"/v1/providers/{id_}")


@requirement("providers.create.shows-no-key")
def test_a_stored_provider_is_shown_with_what_it_was_stored_with_and_no_key(client: Letta, store: Store) -> None:
    made = store(region="eu-west-1", api_version="2025-01-01")
    assert set(made) == SHOWN
    assert made["provider_category"] == "byok"
    assert (made["region"], made["api_version"], made["last_synced"]) == ("eu-west-1", "2025-01-01", None)
    for path in (f"/v1/providers/{made['id']}", f"/v1/providers/{made['id']}/"):
        reply = client.get(path, cast_to=httpx.Response)
        assert reply.json() == made
        assert KEY not in reply.text


@requirement("providers.list.filters-and-cursors")
@pytest.mark.parametrize("path", ["/v1/providers", "/v1/providers/"])
def test_stored_providers_are_listed_newest_first(http: httpx.Client, store: Store, path: str) -> None:
    first, second = store(), store(provider_type="vllm")

    def ids(**query: Any) -> list[str]:
        reply = http.get(path, params=query)
        assert reply.status_code == 200  # and no redirect
        return [provider["id"] for provider in reply.json()]

    assert ids()[:2] == [second["id"], first["id"]]
    assert ids(order="asc")[-2:] == [first["id"], second["id"]]
    assert ids(name=first["name"]) == [first["id"]]
    assert second["id"] not in ids(provider_type="openai")
    assert ids(limit=1) == [second["id"]]
    assert ids(after=second["id"], limit=1) == [first["id"]]
    assert ids(before=first["id"], limit=1) == [second["id"]]


@requirement("providers.create.models-at-once")
def test_the_models_of_a_stored_provider_answer_at_once(client: Letta, store: Store, elsewhere: OpenAIEndpoint) -> None:
    provider = store()
    models = {model.handle: model for model in client.models.list(provider_category=["byok"])}
    assert {f"{provider['name']}/{name}" for name in elsewhere.models} == set(models)
    model = models[f"{provider['name']}/gpt-4o-mini"]
    assert (model.provider_name, model.provider_type) == (provider["name"], "openai")
    agent = client.agents.create(model=f"{provider['name']}/gpt-4o-mini")
    assert agent.llm_config.provider_category == "byok"
    elsewhere.script(text("from elsewhere"))
    assert answer(send(client, client.conversations.create(agent_id=agent.id).id)) == "from elsewhere"
    assert elsewhere.requests[-1].headers["authorization"] == f"Bearer {KEY}"


@requirement("providers.update.takes-effect-at-once")
def test_a_change_takes_effect_with_the_next_message(
    client: Letta, store: Store, endpoint: OpenAIEndpoint, elsewhere: OpenAIEndpoint
) -> None:
    provider = store()
    agent = client.agents.create(model=f"{provider['name']}/gpt-4o-mini")
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, conversation.id)
    path = f"/v1/providers/{provider['id']}"
    client.patch(path, body={"base_url": endpoint.url, "api_key": "sk-another"}, cast_to=object)
    endpoint.script(text("moved"))
    assert answer(send(client, conversation.id)) == "moved"
    assert endpoint.requests[-1].headers["authorization"] == "Bearer sk-another"
    assert len(elsewhere.requests) == 1
    changed: Any = client.patch(path, body={"region": "x"}, cast_to=object)
    assert changed == {**provider, "base_url": endpoint.url, "region": "x", "updated_at": changed["updated_at"]}
    assert "handles" in detail(400, lambda: client.patch(path, body={"name": "other"}, cast_to=object))


@requirement("providers.delete.leaves-the-agents")
def test_agents_of_a_deleted_provider_are_told_so_and_go_on_with_another_model(
    client: Letta, store: Store, endpoint: OpenAIEndpoint
) -> None:
    provider = store()
    agent = client.agents.create(model=f"{provider['name']}/gpt-4o-mini")
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, conversation.id)
    assert client.delete(f"/v1/providers/{provider['id']}", cast_to=object) is None
    assert not client.models.list(provider_name=provider["name"])
    told = detail(400, lambda: send(client, conversation.id))
    assert f"no provider '{provider['name']}' is configured" in told
    assert client.agents.retrieve(agent.id).model == f"{provider['name']}/gpt-4o-mini"
    client.agents.update(agent.id, model=MODEL)
    endpoint.script(text("here again"))
    assert answer(send(client, conversation.id)) == "here again"
    for method in (client.get, client.delete):
        assert provider["id"] in detail(
            404, lambda method=method: method(f"/v1/providers/{provider['id']}", cast_to=object)
        )


@requirement("providers.create.refuses-taken-names")
def test_a_name_is_given_once(client: Letta, store: Store) -> None:
    provider = store()
    assert provider["name"] in detail(409, lambda: store(name=provider["name"]))
    assert "settings" in detail(409, lambda: store(name="openai"))
    assert "letta" in detail(400, lambda: store(name="letta"))
    assert "cannot begin model handles" in detail(400, lambda: store(name="a/b"))


@requirement("providers.create.refuses-what-cannot-work")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"provider_type": "nobody"}, 422),
        ({"provider_type": "letta"}, 400),
        ({"provider_type": "vllm", "base_url": None}, 400),
        ({"provider_type": "groq", "base_url": None, "api_key": None}, 400),
        ({"base_url": "nowhere"}, 400),
        ({"name": None}, 422),
    ],
)
def test_what_cannot_work_is_refused(http: httpx.Client, store: Store, fields: dict[str, Any], status: int) -> None:
    before = http.get("/v1/providers/").json()
    assert detail(status, lambda: store(**fields))
    assert http.get("/v1/providers/").json() == before


@requirement("providers.check")
def test_credentials_are_checked_before_and_after_they_are_stored(
    http: httpx.Client, store: Store, elsewhere: OpenAIEndpoint
) -> None:
    body = {"provider_type": "openai", "api_key": KEY, "base_url": elsewhere.url}
    listed = http.get("/v1/providers/").json()
    assert http.post("/v1/providers/check", json=body).status_code == 200
    assert http.get("/v1/providers/").json() == listed
    provider = store()
    assert http.post(f"/v1/providers/{provider['id']}/check").status_code == 200
    nowhere = http.post("/v1/providers/check", json=body | {"base_url": "http://127.0.0.1:1/v1"})
    assert (nowhere.status_code, nowhere.json()["error"]["type"]) == (502, "llm_error")


@requirement("providers.refresh")
def test_a_refresh_asks_for_the_models_now(
    client: Letta, http: httpx.Client, store: Store, elsewhere: OpenAIEndpoint
) -> None:
    provider = store()
    client.models.list()
    elsewhere.models = ("brand-new",)
    refreshed = http.patch(f"/v1/providers/{provider['id']}/refresh").json()
    assert refreshed == {**provider, "last_synced": refreshed["last_synced"]}
    assert [model.name for model in client.models.list(provider_name=provider["name"])] == ["brand-new"]


@requirement("providers.a-wrong-key-is-told")
def test_a_message_with_a_wrong_key_says_which_provider_to_change(
    http: httpx.Client, client: Letta, store: Store, elsewhere: OpenAIEndpoint
) -> None:
    provider = store()
    agent = client.agents.create(model=f"{provider['name']}/gpt-4o-mini")
    elsewhere.script([Refuse(401, "no such key")])
    reply = http.post(f"/v1/agents/{agent.id}/messages", json={"input": "hello"})
    assert reply.status_code == 401
    assert f"the stored provider '{provider['name']}' a valid api_key" in reply.json()["error"]["message"]


@requirement("providers.secrets-at-rest")
def test_keys_are_encrypted_on_the_disk_and_survive_a_kill(
    tmp_path: Path, environment: dict[str, str], recorder: Recorder, elsewhere: OpenAIEndpoint
) -> None:
    data_dir = tmp_path / "data"
    body = {"name": "own", "provider_type": "openai", "api_key": KEY, "base_url": elsewhere.url}
    with (
        ForkedServer(data_dir, environment) as server,
        httpx.Client(transport=RecordingTransport(recorder), timeout=20) as transport,
    ):
        client = Letta(base_url=server.url, api_key="unused", http_client=transport, max_retries=0)
        made: Any = client.post("/v1/providers/", body=body, cast_to=object)
        agent = client.agents.create(model="own/gpt-4o-mini")
        server.kill()
        assert (data_dir / "secret.key").stat().st_mode & 0o777 == 0o600
        for path in data_dir.rglob("*"):
            assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
        server.start()
        assert client.get("/v1/providers/", cast_to=object) == [made]
        elsewhere.script(text("still here"))
        assert answer(client.agents.messages.create(agent.id, input="hello")) == "still here"
        assert elsewhere.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        server.stop()

        (data_dir / "secret.key").unlink()
        server.start()
        assert client.get("/v1/providers/", cast_to=object) == [made]
        told = detail(400, lambda: client.agents.messages.create(agent.id, input="hello"))
        assert "of the provider 'own' cannot be decrypted" in told
        client.patch(f"/v1/providers/{made['id']}", body={"api_key": "sk-new"}, cast_to=object)
        client.agents.messages.create(agent.id, input="hello")
        assert elsewhere.requests[-1].headers["authorization"] == "Bearer sk-new"
        assert KEY not in server.log
