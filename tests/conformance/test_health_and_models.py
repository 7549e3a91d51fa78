from typing import Any

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import detail
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import MODELS


@requirement("health.reports-the-api-level")
def test_health_reports_the_api_level_and_our_version_beside_it(client: Letta, http: httpx.Client) -> None:
    health = client.health()
    assert health.status == "ok"
    assert tuple(int(part) for part in health.version.split(".")) >= (0, 16, 6)
    ours = {key: value for key, value in health.to_dict().items() if key not in {"status", "version"}}
    assert len(ours) == 1
    assert http.get("/v1/health", follow_redirects=True).json() == http.get("/v1/health/").json()


@requirement("models.list.returns-contract-shape")
def test_every_model_of_the_endpoint_is_listed_with_its_handle(client: Letta) -> None:
    models = {model.handle: model for model in client.models.list()}
    assert {f"openai/{name}" for name in MODELS} <= set(models)
    model = models["openai/gpt-4o-mini"]
    assert (model.name, model.provider_type, model.provider_name) == ("gpt-4o-mini", "openai", "openai")
    assert model.context_window > 0
    assert model.max_context_window >= model.context_window


@requirement("models.list.filters")
def test_models_are_found_by_provider(client: Letta) -> None:
    def found(**query: Any) -> set[Any]:
        return {model.provider_name for model in client.models.list(**query)}

    assert found(provider_name="openai") == {"openai"}
    # The models that run inside the server have no provider type of their own in the API; they are of type openai.
    assert found(provider_type="openai") - {"local"} == {"openai"}
    assert "openai" not in found(provider_type="anthropic")
    assert found(provider_name="nobody") == set()
    assert "openai" in found(provider_category=["base"])
    assert found(provider_category=["byok"]) == set()


@requirement("models.list.refuses-unknown-types")
@pytest.mark.parametrize("query", [{"provider_type": "nobody"}, {"provider_category": ["free"]}])
def test_a_filter_the_api_does_not_know_is_422(client: Letta, query: dict[str, Any]) -> None:
    assert detail(422, lambda: client.models.list(**query))


@requirement("models.embeddings.list.returns-contract-shape")
def test_embedding_models_are_listed(client: Letta) -> None:
    assert all(model.handle for model in client.models.embeddings.list())
