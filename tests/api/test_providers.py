"""Stored providers over the API: what is stored and shown, what is refused, what a check tells."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from tertulia.api.deps import Services
from tertulia.domain.clock import utc_now
from tertulia.domain.ids import new_provider_id
from tertulia.domain.providers import StoredProvider
from tertulia.store.secrets import FernetSecrets
from tests.api.conftest import SECRET_KEY
from tests.support.openai_endpoint import Finish, Gate, OpenAIEndpoint, Pause, Send
from tests.support.plain_server import answering

KEY = "sk-very-secret-0123456789"
STORED: dict[str, Any] = {"name": "lc-openai", "provider_type": "openai", "api_key": KEY}
SHOWN = {
    "name",
    "provider_type",
    "provider_category",
    "base_url",
    "region",
    "api_version",
    "created_at",
    "updated_at",
    "last_synced",
    "api_key",
    "access_key",
    "api_key_enc",
    "access_key_enc",
    "id",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as opened:
        yield opened


async def store(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/providers/", json=STORED | fields)
    assert reply.status_code == 200, reply.text
    assert KEY not in reply.text
    made: dict[str, Any] = reply.json()
    return made


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    reply = await client.get("/v1/providers/", params=query)
    assert reply.status_code == 200, reply.text
    return [provider["name"] for provider in reply.json()]


async def test_a_stored_provider_shows_what_it_was_stored_with_and_no_key(client: httpx.AsyncClient) -> None:
    made = await store(client, base_url="http://10.0.0.7:8000/v1", region="eu-west-1", api_version="2025-01-01")
    assert set(made) == SHOWN
    assert made["id"].startswith("provider-")
    assert (made["provider_category"], made["base_url"]) == ("byok", "http://10.0.0.7:8000/v1")
    assert (made["region"], made["api_version"]) == ("eu-west-1", "2025-01-01")
    assert made["api_key"] is made["access_key"] is made["api_key_enc"] is made["last_synced"] is None
    assert (await client.get(f"/v1/providers/{made['id']}")).json() == made
    assert (await client.get("/v1/providers")).json() == [made]


async def test_stored_providers_are_listed_newest_first_filtered_and_paged(client: httpx.AsyncClient) -> None:
    first, second = await store(client, name="first"), await store(client, name="second", provider_type="anthropic")
    assert await names(client) == ["second", "first"]
    assert await names(client, order="asc") == ["first", "second"]
    assert await names(client, name="first") == ["first"]
    assert await names(client, provider_type="anthropic") == ["second"]
    assert await names(client, limit=1) == ["second"]
    assert await names(client, after=second["id"]) == ["first"]
    assert await names(client, before=first["id"], limit=1) == ["second"]
    assert (await client.get("/v1/providers/", params={"provider_type": "nobody"})).status_code == 422


@pytest.mark.parametrize("name", ["openai", "ollama", "lc-openai"])
async def test_a_name_that_is_taken_is_409(client: httpx.AsyncClient, name: str) -> None:
    await store(client)
    reply = await client.post("/v1/providers/", json=STORED | {"name": name, "base_url": "http://x/v1"})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (409, "false")
    assert f"there is a provider '{name}' already" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"name": "local"}, 400, "local"),
        ({"name": "letta"}, 400, "letta"),
        ({"name": "anthropic"}, 400, "providers of the type 'anthropic'"),
        ({"name": "a/b"}, 400, "cannot begin model handles"),
        ({"name": "ä b"}, 400, "letters, digits"),
        ({"name": "x" * 101}, 400, "at most 100"),
        ({"name": ""}, 422, "name"),
        ({"name": None}, 422, "name"),
        ({"provider_type": "nobody"}, 422, "provider_type"),
        ({"provider_type": "letta"}, 400, "no adapter"),
        ({"provider_type": "vllm"}, 400, "base_url"),
        ({"base_url": "ftp://example.org"}, 400, "is not an address such as"),
        ({"api_key": None}, 400, "api_key"),
        ({"api_key": 7}, 422, "api_key"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, fields: dict[str, Any], status: int, words: str
) -> None:
    body = {name: value for name, value in (STORED | fields).items() if value is not None}
    reply = await client.post("/v1/providers/", json=body)
    assert (reply.status_code, await names(client)) == (status, []), reply.text
    assert words in reply.json()["detail"]
    assert KEY not in reply.text


async def test_a_local_model_server_is_stored_without_a_key(client: httpx.AsyncClient) -> None:
    reply = await client.post(
        "/v1/providers/",
        json={"name": "box", "provider_type": "ollama", "base_url": "http://192.168.1.9:11434", "api_key": ""},
    )
    assert reply.status_code == 200, reply.text


async def test_fields_change_alone_and_null_clears_them(client: httpx.AsyncClient) -> None:
    made = await store(client, base_url="http://10.0.0.7/v1", region="eu-west-1")
    path = f"/v1/providers/{made['id']}"
    changed = (await client.patch(path, json={"region": None})).json()
    assert changed == {**made, "region": None, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    assert (await client.patch(path, json={"api_key": "sk-other", "name": "lc-openai"})).status_code == 200
    moving = {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-third"}
    moved = (await client.patch(path, json=moving)).json()
    assert (moved["base_url"], moved["region"]) == ("http://127.0.0.1:9/v1", None)
    model = (await client.get("/v1/models/", params={"provider_name": "lc-openai"})).json()
    assert model == []  # nothing answers there


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "other"}, 400),
        ({"provider_type": "anthropic"}, 400),
        ({"base_url": "nowhere"}, 400),
        ({"api_key": ""}, 400),
        ({"region": 7}, 422),
    ],
)
async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, changes: dict[str, Any], status: int
) -> None:
    made = await store(client)
    reply = await client.patch(f"/v1/providers/{made['id']}", json=changes)
    assert reply.status_code == status, reply.text
    assert (await client.get(f"/v1/providers/{made['id']}")).json() == made


async def test_a_deleted_provider_is_gone_on_every_route(client: httpx.AsyncClient) -> None:
    made = await store(client)
    path = f"/v1/providers/{made['id']}"
    reply = await client.delete(path)
    assert (reply.status_code, reply.json()) == (200, None)
    calls = [("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/check"), ("PATCH", f"{path}/refresh")]
    for method, where in calls:
        reply = await client.request(method, where, json={} if method == "PATCH" else None)
        assert (reply.status_code, reply.json()["detail"]) == (404, f"Provider not found with id='{made['id']}'"), where


async def test_the_models_of_a_stored_provider_come_and_go_with_it(
    client: httpx.AsyncClient, endpoint: OpenAIEndpoint
) -> None:
    async def handles() -> list[str]:
        reply = await client.get("/v1/models/", params={"provider_category": "byok"})
        return [model["handle"] for model in reply.json()]

    assert (await client.post("/v1/agents/", json={"model": "lc-openai/gpt-4o"})).status_code == 400
    made = await store(client, base_url=endpoint.url)
    assert "lc-openai/gpt-4o" in await handles()
    agent = await client.post("/v1/agents/", json={"model": "lc-openai/gpt-4o"})
    assert agent.json()["llm_config"]["provider_category"] == "byok"
    await client.delete(f"/v1/providers/{made['id']}")
    assert await handles() == []
    shown = await client.get(f"/v1/agents/{agent.json()['id']}")
    assert shown.json()["model"] == "lc-openai/gpt-4o"
    reply = await client.post(f"/v1/agents/{agent.json()['id']}/messages", json={"input": "hello"})
    assert reply.status_code == 400
    assert "no provider 'lc-openai' is configured" in reply.json()["detail"]


async def test_a_provider_that_another_worker_stored_a_moment_ago_is_found(
    client: httpx.AsyncClient, services: Services
) -> None:
    theirs = StoredProvider(
        id=new_provider_id(),
        name="theirs",
        provider_type="openai",
        secret=FernetSecrets([SECRET_KEY], None).seal(b'{"api_key":"k"}'),
        created_at=utc_now(),
        updated_at=utc_now(),
    )
    await services.store.write(lambda tx: tx.providers.insert(theirs))
    reply = await client.post("/v1/agents/", json={"model": "theirs/gpt-4o"})
    assert (reply.status_code, reply.json()["model"]) == (200, "theirs/gpt-4o")
    assert len((await client.get("/v1/agents/")).json()) == 1


@pytest.mark.parametrize("change", ["PATCH", "DELETE"])
async def test_a_reply_that_is_being_made_goes_on_while_its_provider_changes(
    client: httpx.AsyncClient, endpoint: OpenAIEndpoint, change: str
) -> None:
    made = await store(client, base_url=endpoint.url)
    agent = (await client.post("/v1/agents/", json={"model": "lc-openai/gpt-4o"})).json()
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), Send({"content": "whole"}), Finish()])
    reply = asyncio.create_task(client.post(f"/v1/agents/{agent['id']}/messages", json={"input": "hello"}))
    await asyncio.to_thread(gate.wait_reached)
    body = {"api_key": "sk-other"} if change == "PATCH" else None
    assert (await client.request(change, f"/v1/providers/{made['id']}", json=body)).status_code == 200
    gate.open()
    assert (await reply).json()["messages"][0]["content"] == "half whole"


async def test_a_refresh_asks_for_the_models_now_and_says_when(
    client: httpx.AsyncClient, endpoint: OpenAIEndpoint
) -> None:
    made = await store(client, base_url=endpoint.url)
    await client.get("/v1/models/")
    endpoint.models = ("new-model",)
    try:
        refreshed = await client.patch(f"/v1/providers/{made['id']}/refresh")
    finally:
        endpoint.reset()
    assert refreshed.json() == {**made, "last_synced": refreshed.json()["last_synced"]}
    assert refreshed.json()["last_synced"] > made["created_at"]
    models = (await client.get("/v1/models/", params={"provider_name": "lc-openai"})).json()
    assert [model["name"] for model in models] == ["new-model"]


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, {"base_url": "http://127.0.0.1:10/v1"}),
        ({"base_url": "http://127.0.0.1:9/v1"}, {"base_url": "https://127.0.0.1:9/v1"}),
        ({"base_url": "http://127.0.0.1:9/v1"}, {"base_url": "http://localhost:9/v1"}),
        ({"base_url": "http://127.0.0.1:9/v1"}, {"base_url": None}),
        ({}, {"base_url": "http://127.0.0.1:9/v1"}),
        ({"provider_type": "bedrock", "region": "eu-west-1", "access_key": "AK"}, {"region": "us-east-1"}),
        (
            {"provider_type": "bedrock", "region": "eu-west-1", "access_key": "AK"},
            {"region": "us-east-1", "api_key": "sk-again"},
        ),
        ({"provider_type": "google_vertex", "region": "eu"}, {"region": None}),
    ],
)
async def test_a_key_is_not_sent_to_another_address_than_it_was_stored_for(
    client: httpx.AsyncClient, fields: dict[str, Any], changes: dict[str, Any]
) -> None:
    made = await store(client, **fields)
    path = f"/v1/providers/{made['id']}"
    reply = await client.patch(path, json=changes)
    assert (reply.status_code, "again" in reply.json()["detail"]) == (422, True), reply.text
    assert (await client.get(path)).json() == made
    anew = {"api_key": "sk-again", **({"access_key": "AK"} if "access_key" in fields else {})}
    assert (await client.patch(path, json=changes | anew)).status_code == 200


async def test_an_address_that_is_the_same_asks_for_no_key(client: httpx.AsyncClient) -> None:
    made = await store(client, base_url="http://127.0.0.1:9/v1", region="eu")
    for same in ({"base_url": "http://127.0.0.1:9/v1/"}, {"region": "us"}, {"api_version": "2"}):
        assert (await client.patch(f"/v1/providers/{made['id']}", json=same)).status_code == 200


async def test_the_servers_own_credentials_go_to_no_address_of_the_callers(client: httpx.AsyncClient) -> None:
    body = {"name": "aws", "provider_type": "bedrock", "base_url": "http://127.0.0.1:9", "region": "eu-west-1"}
    for path in ("/v1/providers/", "/v1/providers/check"):
        reply = await client.post(path, json=body)
        assert (reply.status_code, "api_key" in reply.json()["detail"]) == (400, True)
    made = await client.post("/v1/providers/", json={**body, "api_key": "sk-aws"})
    assert made.status_code == 200
    assert (await client.patch(f"/v1/providers/{made.json()['id']}", json={"api_key": ""})).status_code == 400


async def test_an_address_with_a_password_in_it_is_refused(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/providers/", json=STORED | {"base_url": "http://me:secret@127.0.0.1:9/v1"})
    assert (reply.status_code, "secret" in reply.text) == (400, False)


class TestChecks:
    @pytest.fixture(params=["before", "stored"])
    def check(self, request: pytest.FixtureRequest, client: httpx.AsyncClient) -> Any:
        async def ask(base_url: str, api_key: str = KEY) -> httpx.Response:
            body = {"provider_type": "openai", "base_url": base_url, "api_key": api_key}
            if request.param == "before":
                return await client.post("/v1/providers/check", json=body)
            made = await store(client, **body)
            return await client.post(f"/v1/providers/{made['id']}/check")

        return ask

    async def test_credentials_that_are_accepted(self, check: Any, endpoint: OpenAIEndpoint) -> None:
        reply = await check(endpoint.url)
        assert (reply.status_code, reply.json()) == (200, {"message": "The provider accepts the credentials."})

    async def test_a_check_stores_nothing(self, client: httpx.AsyncClient, endpoint: OpenAIEndpoint) -> None:
        await client.post("/v1/providers/check", json=STORED | {"base_url": endpoint.url})
        assert await names(client) == []

    async def test_a_wrong_key_is_told_as_such(self, check: Any) -> None:
        with answering(200, {"data": []}, wanted_key="sk-right") as url:
            reply = await check(f"{url}/v1")
        assert (reply.status_code, reply.json()["error"]["type"]) == (401, "llm_authentication")
        assert "did not accept the credentials" in reply.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("status", "told"), [(403, 401), (404, 502), (429, 429), (500, 502), (503, 502), (418, 502)]
    )
    async def test_nothing_of_the_answer_is_shown(self, check: Any, status: int, told: int) -> None:
        with answering(status, {"error": {"message": "the-intranet-says-hello"}}) as url:
            reply = await check(f"{url}/v1")
        assert reply.status_code == told
        assert "intranet" not in reply.text

    @pytest.mark.parametrize("body", ["the-intranet-says-hello", {"secret": "the-intranet-says-hello"}, 7])
    async def test_what_is_no_model_server_is_told_without_its_words(self, check: Any, body: object) -> None:
        with answering(200, body) as url:
            reply = await check(f"{url}/v1")
        assert (reply.status_code, reply.json()["error"]["type"]) == (502, "llm_error")
        assert "intranet" not in reply.text

    async def test_a_server_that_is_not_there(self, check: Any) -> None:
        reply = await check("http://127.0.0.1:9/v1")
        assert (reply.status_code, reply.json()["error"]["type"]) == (502, "llm_error")
        assert "Nothing answers" in reply.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("body", "status"), [({}, 422), ({"provider_type": "letta"}, 400), ({"provider_type": "vllm"}, 400)]
    )
    async def test_a_check_of_nothing_is_refused(
        self, client: httpx.AsyncClient, body: dict[str, Any], status: int
    ) -> None:
        assert (await client.post("/v1/providers/check", json=body)).status_code == status


class TestCredentialsThatCannotBeDecrypted:
    @pytest.fixture
    async def provider(self, client: httpx.AsyncClient, services: Services) -> dict[str, Any]:
        made = await store(client)
        foreign = FernetSecrets(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="], None).seal(b"{}")
        await services.store.write(
            lambda tx: tx.providers.update(replace(tx.providers.get(made["id"]), secret=foreign))
        )
        await services.providers.refresh()
        return made

    async def test_it_is_listed_and_every_use_says_what_to_do(
        self, client: httpx.AsyncClient, provider: dict[str, Any]
    ) -> None:
        path = f"/v1/providers/{provider['id']}"
        assert (await client.get("/v1/providers/")).json() == [provider]
        assert (await client.get("/v1/models/")).status_code == 200
        replies = [
            await client.post(f"{path}/check"),
            await client.patch(f"{path}/refresh"),
            await client.patch(path, json={"region": "x"}),
            await client.post("/v1/agents/", json={"model": "lc-openai/gpt-4o"}),
        ]
        for reply in replies:
            assert reply.status_code == 400
            assert "of the provider 'lc-openai' cannot be decrypted" in reply.json()["detail"]
            assert "TERTULIA_SECRET_KEY" in reply.json()["detail"]

    async def test_a_new_key_mends_it(self, client: httpx.AsyncClient, provider: dict[str, Any]) -> None:
        assert (await client.patch(f"/v1/providers/{provider['id']}", json={"api_key": KEY})).status_code == 200
        assert (await client.post("/v1/agents/", json={"model": "lc-openai/gpt-4o"})).status_code == 200
