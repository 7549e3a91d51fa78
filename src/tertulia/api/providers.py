"""``/v1/providers``: providers of models that are stored at run time, beside those of the server's settings."""

from tertulia.api.deps import CurrentServices
from tertulia.api.pages import NewestFirst
from tertulia.api.routing import api_router
from tertulia.api.wire.providers import (
    CheckProviderBody,
    CreateProviderBody,
    ProviderBody,
    ProviderCheckBody,
    ProviderTypeName,
    UpdateProviderBody,
    provider_account,
    provider_body,
    provider_changes,
)
from tertulia.ports.queries import ProviderQuery

router = api_router("providers")

_ACCEPTED = ProviderCheckBody(message="The provider accepts the credentials.")


@router.get("/v1/providers", operation_id="list_providers")
async def list_providers(
    *,
    services: CurrentServices,
    name: str | None = None,
    provider_type: ProviderTypeName | None = None,
    asked: NewestFirst,
) -> list[ProviderBody]:
    query = ProviderQuery(page=asked, name=name or None, provider_type=provider_type)
    return [provider_body(provider) for provider in await services.providers.find(query)]


@router.post("/v1/providers", operation_id="create_provider")
async def create_provider(body: CreateProviderBody, services: CurrentServices) -> ProviderBody:
    """Its models have the handles `name/model` and can be used at once."""
    return provider_body(await services.providers.create(provider_account(body, body.name)))


@router.post("/v1/providers/check", operation_id="check_provider")
async def check_provider(body: CheckProviderBody, services: CurrentServices) -> ProviderCheckBody:
    """Ask a provider whether it accepts credentials; nothing is stored."""
    await services.providers.check(provider_account(body, body.provider_type))
    return _ACCEPTED


@router.get("/v1/providers/{provider_id}", operation_id="retrieve_provider")
async def retrieve_provider(provider_id: str, services: CurrentServices) -> ProviderBody:
    return provider_body(await services.providers.get(provider_id))


@router.patch("/v1/providers/{provider_id}", operation_id="modify_provider")
async def modify_provider(provider_id: str, body: UpdateProviderBody, services: CurrentServices) -> ProviderBody:
    return provider_body(await services.providers.update(provider_id, provider_changes(body)))


@router.delete("/v1/providers/{provider_id}", operation_id="delete_provider", response_model=None)
async def delete_provider(provider_id: str, services: CurrentServices) -> None:
    """Agents that use its models stay; a message to them is refused until they have another model."""
    await services.providers.delete(provider_id)


@router.post("/v1/providers/{provider_id}/check", operation_id="check_existing_provider")
async def check_existing_provider(provider_id: str, services: CurrentServices) -> ProviderCheckBody:
    await services.providers.check_stored(provider_id)
    return _ACCEPTED


@router.patch("/v1/providers/{provider_id}/refresh", operation_id="refresh_provider_models")
async def refresh_provider_models(provider_id: str, services: CurrentServices) -> ProviderBody:
    """Ask the provider for its models now, however lately that was done."""
    return provider_body(await services.providers.sync_models(provider_id))
