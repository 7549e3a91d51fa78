"""Stored providers as clients see them, and what they may send to store, change and check one."""

from typing import Any, Literal, TypeAlias

from pydantic import Field

from tertulia.api.wire.common import BodyModel, Instant, Name, Prose, ResponseModel
from tertulia.domain.models import ProviderCategory
from tertulia.domain.providers import Credentials, ProviderAccount, StoredProvider

ProviderTypeName: TypeAlias = Literal[
    "anthropic",
    "azure",
    "baseten",
    "bedrock",
    "cerebras",
    "chatgpt_oauth",
    "deepseek",
    "fireworks",
    "google_ai",
    "google_vertex",
    "groq",
    "hugging-face",
    "letta",
    "lmstudio_openai",
    "minimax",
    "moonshot",
    "moonshot_coding",
    "mistral",
    "ollama",
    "openai",
    "together",
    "vllm",
    "sglang",
    "openrouter",
    "xai",
    "zai",
    "zai_coding",
]


class ProviderBody(ResponseModel):
    """A stored provider. Keys are never shown: their fields are null, whatever is stored."""

    id: str
    name: str
    provider_type: str
    provider_category: ProviderCategory = "byok"
    base_url: str | None
    region: str | None
    api_version: str | None
    created_at: Instant
    updated_at: Instant
    last_synced: Instant | None
    api_key: None = None
    access_key: None = None
    api_key_enc: None = None
    access_key_enc: None = None


class _Spoken(BodyModel):
    """What a provider is spoken to with. Types that need no key, or have an address of their own, do without."""

    api_key: Prose | None = Field(None, description="The key, the secret of an AWS key, or tokens as JSON.")
    access_key: Prose | None = None
    region: Name | None = None
    base_url: Prose | None = Field(None, description="May be an address of the server's own network.")
    api_version: Name | None = None


class CheckProviderBody(_Spoken):
    provider_type: ProviderTypeName


class CreateProviderBody(CheckProviderBody):
    name: Name = Field(min_length=1)


class UpdateProviderBody(_Spoken):
    """A field left out is untouched; null clears it. The name and the type can be said, and not be changed.

    Of keys null is what is shown of every one, and so says nothing when it is written back; an empty string clears.
    """

    name: Name | None = None
    provider_type: ProviderTypeName | None = None


class ProviderCheckBody(ResponseModel):
    """Shown when the provider accepted the credentials; when it did not, the reply is an error."""

    message: str


def provider_body(provider: StoredProvider) -> ProviderBody:
    return ProviderBody(
        id=provider.id,
        name=provider.name,
        provider_type=provider.provider_type,
        base_url=provider.base_url,
        region=provider.region,
        api_version=provider.api_version,
        created_at=provider.created_at,
        updated_at=provider.updated_at,
        last_synced=provider.last_synced,
    )


def provider_account(body: CheckProviderBody, name: str) -> ProviderAccount:
    """What the body describes, under this name. Empty strings are what clients send for nothing."""
    return ProviderAccount(
        name=name,
        provider_type=body.provider_type,
        base_url=body.base_url or None,
        region=body.region or None,
        api_version=body.api_version or None,
        credentials=Credentials(api_key=body.api_key or None, access_key=body.access_key or None),
    )


def provider_changes(body: UpdateProviderBody) -> dict[str, Any]:
    """Only what is to change, as the domain names it."""
    changes = body.model_dump(exclude_unset=True)
    for name in ("api_key", "access_key"):
        if changes.get(name, "") is None:
            del changes[name]
    fixed = {name: changes.pop(name) for name in ("name", "provider_type") if name in changes}
    return {name: value or None for name, value in changes.items()} | {
        name: value for name, value in fixed.items() if value is not None
    }
