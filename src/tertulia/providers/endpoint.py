"""What is configured of one endpoint of models, whatever its dialect."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tertulia.domain.addresses import without_login
from tertulia.domain.models import ProviderCategory
from tertulia.domain.provider_types import COMPATIBLE, ProviderType
from tertulia.providers.failures import Subject

_SECRET_OPTIONS: Final = ("access_key", "secret_key", "session_token", "access_token")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{8,}")
_LEAST_SECRET: Final = 8  # characters; a shorter key is a stand-in, and its letters are those of other words


_BY_DOMAIN: Final[Mapping[str, str]] = {
    "openai.com": "openai",
    "openai.azure.com": "azure",
    "deepseek.com": "deepseek",
    "moonshot.ai": "moonshot",
    "moonshot.cn": "moonshot",
    "z.ai": "zai",
    "bigmodel.cn": "zai",
    "openrouter.ai": "openrouter",
    "mistral.ai": "mistral",
    "groq.com": "groq",
    "x.ai": "xai",
    "cerebras.ai": "cerebras",
    "together.xyz": "together",
    "together.ai": "together",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """One endpoint, with its models under the handles ``name/model``.

    ``base_url`` ends in its version path. ``models`` None means: ask it. Times are seconds; ``idle_timeout`` is the
    longest silence, before the reply and within it, ``list_timeout`` the longest wait for the list of models.

    ``options`` are what the type needs beside key and address, such as a region, by the names its row gives them.
    ``token`` gives the bearer token of the moment in place of a key, where tokens run out; it raises ``ProviderError``.
    ``held`` tells what else is secret at the moment. ``headers`` go with every request. ``category`` says whether it
    is configured or was stored by a user of the API.
    """

    name: str
    type: ProviderType = COMPATIBLE
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    token: Callable[[], Awaitable[str]] | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    held: Callable[[], tuple[str, ...]] = tuple
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    models: tuple[str, ...] | None = None
    category: ProviderCategory = "base"
    connect_timeout: float = 10
    idle_timeout: float = 300
    list_timeout: float = 3
    retries: int = 2

    @property
    def key_hint(self) -> str:
        """What to do about a key that is missing or wrong."""
        if self.category == "byok":
            return f"Give the stored provider '{self.name}' a valid api_key (PATCH /v1/providers/{{provider_id}})."
        if self.type.login:
            return f"Sign in again: {self.type.login}."
        if self.type.key_variables:
            return f"Set {self.type.key_variables[0]} to a valid key."
        return f"Configure '{self.name}' with an api_key in TERTULIA_ENDPOINTS."

    def without_secrets(self, text: str) -> str:
        """The text, which may be another's, with nothing in it of the credentials."""
        for secret in (self.api_key, *(self.options.get(name) for name in _SECRET_OPTIONS), *self.held()):
            if secret is not None and len(secret) >= _LEAST_SECRET:
                text = text.replace(secret, "…")
        return _BEARER.sub(r"\1\2…", without_login(text))  # tokens that an SDK fetched by itself

    @property
    def shown_address(self) -> str:
        """``base_url`` as it may be told to users of the API."""
        return without_login(self.base_url)

    def subject(self, model: str = "") -> Subject:
        return Subject(name=self.name, endpoint=self.shown_address, key_hint=self.key_hint, model=model)


def is_openai(base_url: str) -> bool:
    """Whether OpenAI's own models answer there, rather than one of its many imitators."""
    return type_at(base_url) in {"openai", "azure"}


def type_at(base_url: str) -> str:
    """The provider type whose own servers answer there; "" for nobody's in particular."""
    host = f".{urlsplit(base_url).hostname or ''}"
    return next((name for domain, name in _BY_DOMAIN.items() if host.endswith(f".{domain}")), "")
