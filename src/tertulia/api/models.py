"""``/v1/models``: the models that can be used now, by the configured providers."""

from typing import Annotated

from fastapi import Query

from tertulia.api.deps import CurrentServices
from tertulia.api.routing import api_router
from tertulia.api.wire.models import EmbeddingModelBody, ModelBody, embedding_model_body, model_body
from tertulia.api.wire.providers import ProviderTypeName
from tertulia.domain.models import ProviderCategory

router = api_router("models")


@router.get("/v1/models", operation_id="list_models")
async def list_models(
    *,
    services: CurrentServices,
    provider_name: str | None = None,
    provider_type: ProviderTypeName | None = None,
    provider_category: Annotated[list[ProviderCategory] | None, Query()] = None,
) -> list[ModelBody]:
    await services.providers.refresh()
    return [
        model_body(card)
        for card in await services.catalogue.models()
        if (not provider_name or card.provider_name == provider_name)
        and (provider_type is None or card.provider_type == provider_type)
        and (not provider_category or card.provider_category in provider_category)
    ]


@router.get("/v1/models/embedding", operation_id="list_embedding_models")
async def list_embedding_models(services: CurrentServices) -> list[EmbeddingModelBody]:
    return [embedding_model_body(card) for card in await services.catalogue.embeddings()]
