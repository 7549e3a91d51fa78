"""What a user can configure: read once from the environment and `.env`, checked, and never changed afterwards."""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "TERTULIA_"
ENV_FILE: Final = ".env"
EMBEDDED_MODEL: Final = "local/smollm2-135m-instruct"

EndpointKind: TypeAlias = Literal[
    "openai", "ollama", "vllm", "lmstudio", "llamacpp", "anthropic", "moonshot_coding", "compatible"
]

# The provider part of a model handle, for each kind of endpoint that has an address setting of its own.
HANDLE_PREFIXES: Final[dict[EndpointKind, str]] = {
    "openai": "openai",
    "ollama": "ollama",
    "vllm": "vllm",
    "lmstudio": "lmstudio_openai",
    "llamacpp": "llamacpp",
    "anthropic": "anthropic",
    "moonshot_coding": "moonshot_coding",
}
_RESERVED_NAMES: Final = {*HANDLE_PREFIXES, *HANDLE_PREFIXES.values(), "local", "letta"}
_ENDPOINT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
_ANTHROPIC_BASE_URL: Final = "https://api.anthropic.com"
_MOONSHOT_CODING_BASE_URL: Final = "https://api.kimi.com/coding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One configured server of models. They have the handles ``name/model``.

    ``base_url`` ends without a slash, and in its version path where the server speaks an OpenAI dialect. ``models``
    None means: ask the endpoint.
    """

    name: str
    kind: EndpointKind
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModels:
    """The models that run inside the server: the embedded one, and any GGUF file in ``directory``.

    ``context`` is tokens, None for what each model was trained with, but at most 8,192.
    """

    directory: Path | None = None
    threads: int = 1
    context: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Everything the model providers are built from. Times are seconds."""

    endpoints: tuple[Endpoint, ...] = ()
    local: LocalModels = LocalModels()
    connect_timeout: float = 10
    idle_timeout: float = 300
    retries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the tools for the web are built from. Of two search services the one with a key is asked."""

    exa_api_key: str | None = field(default=None, repr=False)
    searxng_base_url: str | None = None
    allow_private_addresses: bool = False


def _checked_address(url: str) -> str:
    """The address without a slash at its end.

    :raises ValueError: if it is no http(s) address.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"'{url}' is not an address such as http://127.0.0.1:8080"
        raise ValueError(message)
    return parts._replace(path=parts.path.rstrip("/")).geturl()


def _checked_base_url(url: str) -> str:
    """The address without a slash at its end; one without a path gets ``/v1``, which every such server listens under.

    :raises ValueError: if it is no http(s) address.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"'{url}' is not an address such as http://127.0.0.1:11434/v1"
        raise ValueError(message)
    path = parts.path.rstrip("/") or "/v1"
    return parts._replace(path=path).geturl()


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(name.strip().rstrip("/") for name in value.split(",") if name.strip())


def _checked_root(url: str) -> str:
    """The address before the version path, which the Messages dialect counts to its own paths.

    :raises ValueError: if it is no http(s) address.
    """
    return _checked_address(url).removesuffix("/v1")


Address: TypeAlias = Annotated[str, AfterValidator(_checked_address)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_checked_base_url)]
RootUrl: TypeAlias = Annotated[str, AfterValidator(_checked_root)]


Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Names with commas between them."""


class NamedEndpoint(BaseModel):
    """One entry of ``TERTULIA_ENDPOINTS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: BaseUrl
    api_key: SecretStr | None = None
    models: tuple[str, ...] | None = None


def _shared(name: str, *others: str) -> AliasChoices:
    """Names of a variable that other programs read too; ours with the prefix comes first."""
    return AliasChoices(f"{PREFIX}{name}", name, *others)


class Settings(BaseSettings):
    """Every setting. Environment variables are the field names in capitals with the prefix ``TERTULIA_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8283
    data_dir: Path = Path("~/.tertulia")
    db: str | None = None
    api_key: SecretStr | None = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 10 * 1024 * 1024
    allowed_hosts: Names = ()
    cors_origins: Names = ()
    shutdown_grace: Annotated[int, Field(ge=0)] = 5
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    approval_deadline: Annotated[int, Field(ge=1)] = 7 * 86_400
    queue_limit: Annotated[int, Field(ge=1)] = 100
    compaction_threshold: Annotated[float, Field(ge=0.1, le=1)] = 0.9
    description_model: str | None = None
    event_retention: Annotated[int, Field(ge=60)] = 7 * 86_400

    default_model: str = EMBEDDED_MODEL
    models_dir: Path | None = None
    local_threads: Annotated[int, Field(ge=1)] = 1
    local_context: Annotated[int, Field(ge=512)] | None = None

    openai_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("OPENAI_API_KEY"))
    openai_base_url: BaseUrl | None = Field(
        default=None, validation_alias=_shared("OPENAI_BASE_URL", "OPENAI_API_BASE")
    )
    ollama_base_url: BaseUrl | None = Field(default=None, validation_alias=_shared("OLLAMA_BASE_URL"))
    vllm_api_base: BaseUrl | None = Field(default=None, validation_alias=_shared("VLLM_API_BASE"))
    lmstudio_base_url: BaseUrl | None = Field(default=None, validation_alias=_shared("LMSTUDIO_BASE_URL"))
    llamacpp_base_url: BaseUrl | None = Field(
        default=None, validation_alias=_shared("LLAMACPP_BASE_URL", "LLAMA_CPP_BASE_URL")
    )
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("ANTHROPIC_API_KEY"))
    anthropic_base_url: RootUrl | None = Field(default=None, validation_alias=_shared("ANTHROPIC_BASE_URL"))
    moonshot_coding_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("MOONSHOT_CODING_API_KEY"))
    moonshot_coding_base_url: RootUrl | None = Field(default=None, validation_alias=_shared("MOONSHOT_CODING_BASE_URL"))
    endpoints: dict[str, NamedEndpoint] = {}
    model_connect_timeout: Annotated[float, Field(gt=0)] = 10
    model_idle_timeout: Annotated[float, Field(gt=0)] = 300
    model_retries: Annotated[int, Field(ge=0, le=10)] = 2

    exa_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("EXA_API_KEY"))
    searxng_base_url: Address | None = Field(default=None, validation_alias=_shared("SEARXNG_BASE_URL"))
    allow_private_addresses: bool = False

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("db")
    @classmethod
    def _sqlite_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"sqlite:///[^?]+", value):
            message = f"'{_without_password(value)}' is not supported; this release takes sqlite:///path/to/file.db"
            raise ValueError(message)
        return value

    @field_validator("default_model", "description_model")
    @classmethod
    def _handle(cls, value: str | None) -> str | None:
        if value is None:
            return None
        provider, _, model = value.partition("/")
        if not provider or not model:
            message = f"'{value}' is not a handle in the format provider/model-name"
            raise ValueError(message)
        return value

    @field_validator("endpoints")
    @classmethod
    def _endpoint_names(cls, value: dict[str, NamedEndpoint]) -> dict[str, NamedEndpoint]:
        for name in value:
            if name in _RESERVED_NAMES:
                message = f"the name '{name}' is taken by a built-in provider; choose another one"
                raise ValueError(message)
            if not _ENDPOINT_NAME.fullmatch(name):
                message = f"the name '{name}' may hold only small letters, digits, '.', '_' and '-'"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _no_open_door(self) -> Self:
        if not is_loopback(self.host) and self.api_key is None:
            message = (
                f"the host {self.host} can be reached from other machines, so a key is needed: "
                "set TERTULIA_API_KEY, or use 127.0.0.1"
            )
            raise ValueError(message)
        return self

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        if self.db is None:
            return self.data_dir / "tertulia.db"
        return Path(unquote(self.db.removeprefix("sqlite:///"))).expanduser().absolute()

    @property
    def providers(self) -> ProviderSettings:
        return ProviderSettings(
            endpoints=(*self._known_endpoints(), *self._named_endpoints()),
            local=LocalModels(directory=self.models_dir, threads=self.local_threads, context=self.local_context),
            connect_timeout=self.model_connect_timeout,
            idle_timeout=self.model_idle_timeout,
            retries=self.model_retries,
        )

    @property
    def web(self) -> WebSettings:
        return WebSettings(
            exa_api_key=_revealed(self.exa_api_key),
            searxng_base_url=self.searxng_base_url,
            allow_private_addresses=self.allow_private_addresses,
        )

    def _known_endpoints(self) -> tuple[Endpoint, ...]:
        openai_key = _revealed(self.openai_api_key)
        anthropic_key = _revealed(self.anthropic_api_key)
        moonshot_key = _revealed(self.moonshot_coding_api_key)
        openai = self.openai_base_url or (_OPENAI_BASE_URL if openai_key else None)
        anthropic = self.anthropic_base_url or (_ANTHROPIC_BASE_URL if anthropic_key else None)
        moonshot = self.moonshot_coding_base_url or (_MOONSHOT_CODING_BASE_URL if moonshot_key else None)
        addresses: tuple[tuple[EndpointKind, str | None, str | None], ...] = (
            ("openai", openai, openai_key),
            ("ollama", self.ollama_base_url, None),
            ("vllm", self.vllm_api_base, None),
            ("lmstudio", self.lmstudio_base_url, None),
            ("llamacpp", self.llamacpp_base_url, None),
            ("anthropic", anthropic, anthropic_key),
            ("moonshot_coding", moonshot, moonshot_key),
        )
        return tuple(
            Endpoint(name=HANDLE_PREFIXES[kind], kind=kind, base_url=base_url, api_key=api_key)
            for kind, base_url, api_key in addresses
            if base_url
        )

    def _named_endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(
                name=name,
                kind="compatible",
                base_url=entry.base_url,
                api_key=_revealed(entry.api_key),
                models=entry.models,
            )
            for name, entry in self.endpoints.items()
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def variable_names(field_name: str) -> tuple[str, ...]:
    """The environment variables a field is read from, the preferred one first."""
    alias = Settings.model_fields[field_name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{PREFIX}{field_name.upper()}",)


def field_of(variable: str) -> str | None:
    """The field an environment variable is read into."""
    return next((name for name in Settings.model_fields if variable in variable_names(name)), None)


def variable_in_use(field_name: str) -> str:
    """The variable that gives the field its value, or the one to set if none does."""
    names = variable_names(field_name)
    given = {name.upper() for name, value in _given_variables().items() if value}
    return next((name for name in names if name in given), names[min(1, len(names) - 1)])


def _given_variables() -> dict[str, str | None]:
    return {**dotenv_values(ENV_FILE), **os.environ}


def unknown_variables() -> list[str]:
    """Variables with our prefix, in the environment or `.env`, that no setting reads: most likely misspelt."""
    known = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    return sorted(name for name in _given_variables() if name.upper().startswith(PREFIX) and name.upper() not in known)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)
