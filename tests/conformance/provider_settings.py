"""What can be set of each provider type, and models to show it with: for the page and for the test that proves it."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tertulia.api.wire.model_settings import SHAPES, AnyModelSettings
from tertulia.domain.provider_types import COMPATIBLE, PROVIDER_TYPES, ProviderType
from tertulia.providers.adapters import make_adapter
from tertulia.providers.endpoint import EndpointConfig

if TYPE_CHECKING:
    from tertulia.providers.adapter import Adapter
    from tertulia.providers.setting_rules import Rules

_FORMATS = ("text", "json_object", "json_schema")
_TOKENS = '{"access_token": "a", "refresh_token": "r", "account_id": "account"}'


@dataclass(frozen=True)
class Variant:
    """Models of one provider type whose settings become the same. ``model`` is one of them."""

    row: ProviderType
    model: str
    title: str = ""

    @property
    def settings_type(self) -> str:
        return self.row.settings_types[0]

    @property
    def shape(self) -> type[AnyModelSettings]:
        return SHAPES[self.settings_type]

    @property
    def rules(self) -> Rules:
        return adapter(self.row).rules(self.model)


def adapter(row: ProviderType) -> Adapter:
    key = _TOKENS if row.dialect == "chatgpt" else "key"
    base_url = row.base_url or "http://127.0.0.1:1/v1"
    return make_adapter(EndpointConfig(name=row.name or "name", type=row, base_url=base_url, api_key=key))


_MODELS: dict[str, tuple[tuple[str, str], ...]] = {
    "openai": (("gpt-5.2", "Models that reason, over Responses"), ("gpt-4o", "Other models, over Chat Completions")),
    "anthropic": (("claude-sonnet-4-5", ""),),
    "google_ai": (("gemini-3-pro-preview", ""),),
    "google_vertex": (("gemini-3-pro-preview", ""),),
    "bedrock": (("anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude"), ("amazon.nova-pro-v1:0", "Other models")),
    "chatgpt_oauth": (("gpt-5.2-codex", ""),),
}

VARIANTS = [
    Variant(row, model, title)
    for row in (*PROVIDER_TYPES, COMPATIBLE)
    for model, title in _MODELS.get(row.name, (("some-model", ""),))
]


def settings_of(shape: type[AnyModelSettings]) -> list[str]:
    """The names of the settings of a shape, as rules name them."""
    return [
        name
        for field, info in shape.model_fields.items()
        if field != "provider_type"
        for name in _names(field, info.annotation)
    ]


def _names(field: str, annotation: Any) -> list[str]:
    if field in {"response_format", "response_schema"}:
        return [f"{field}.{kind}" for kind in _FORMATS]
    inner = next((part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), None)
    return [f"{field}.{name}" for name in inner.model_fields] if inner else [field]


def values_of(shape: type[AnyModelSettings], name: str) -> list[Any]:
    """The words that a setting of a shape may have; empty where it takes others than words."""
    field, _, inner = name.partition(".")
    annotation: Any = shape.model_fields[field].annotation
    if inner and field not in {"response_format", "response_schema"}:
        model = next(part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel))
        annotation = model.model_fields[inner].annotation
    return [
        value for part in _parts(annotation) if typing.get_origin(part) is typing.Literal for value in part.__args__
    ]


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, or the type itself."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if origin is typing.Literal or not typing.get_args(annotation):
        return [annotation]
    return [part for member in typing.get_args(annotation) for part in _parts(member)]
