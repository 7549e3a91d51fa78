"""What a user can configure: read once from the environment and `.env`, checked, and never changed afterwards."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import unquote

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tertulia.domain.addresses import without_password
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.provider_settings import (
    VARIABLES,
    Endpoint,
    LocalModels,
    PlainUrl,
    ProviderSettings,
    VersionedUrl,
    base_urls_of,
    endpoints_of,
    wrong_addresses,
)
from tertulia.setting_checks import (
    ENV_FILE,
    ENV_FILE_ENCODING,
    POSTGRES_URL,
    check_database_url,
    check_text,
    encryption_keys,
    no_texts,
)

PREFIX: Final = "TERTULIA_"
EMBEDDED_PG: Final = "embedded-pg"
_SQLITE_URL: Final = re.compile(r"sqlite:///[^?]+")
PROVIDER_VARIABLES: Final = "variables of providers"
"""The field of these variables outside; no variable can have that name, so none is read for all of them."""

EMBEDDED_MODEL: Final = "local/smollm2-135m-instruct"

_KEYS: Final = frozenset({"api_key", "secret_key"})
"""Fields that nobody leaves blank on purpose."""
_VISIBLE: Final = re.compile(r"[!-~]+")
_ORIGIN: Final = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]+")
_HOST_NAME: Final = re.compile(r"[^\s/@?#:]+|\[?[0-9A-Fa-f:.]+\]?")

_RESERVED_NAMES: Final = {*BY_PREFIX, "local", "letta"}
_ENDPOINT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_SHORTEST_API_KEY: Final = 16
"""Characters; a shorter key can be guessed by those who may try."""
_DAY: Final = 86_400
_CENTURY: Final = 100 * 365 * _DAY
_MANY: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the tools for the web are built from. Of two search services the one with a key is asked."""

    exa_api_key: str | None = field(default=None, repr=False)
    searxng_base_url: str | None = None
    allow_private_addresses: bool = False


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(name.strip().rstrip("/") for name in value.split(",") if name.strip())


Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Names with commas between them."""


class NamedEndpoint(BaseModel):
    """One entry of ``TERTULIA_ENDPOINTS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: VersionedUrl
    api_key: SecretStr | None = None
    models: tuple[str, ...] | None = None


class _ProviderVariables(PydanticBaseSettingsSource):
    """The variables of the table of providers, out of those that other sources have read already."""

    def __init__(self, settings_class: type[BaseSettings], *read: Mapping[str, str | None]) -> None:
        super().__init__(settings_class)
        self._read = read

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return None, field_name, False  # the one field is filled by the call

    def __call__(self) -> dict[str, Any]:
        given: dict[str, str] = {}
        for read in self._read:
            for name, value in read.items():
                if value and value.strip():
                    given.setdefault(name.upper(), value.strip())
        found = {name: given.get(PREFIX + name) or given.get(name) for name in VARIABLES}
        return {PROVIDER_VARIABLES: {name: value for name, value in found.items() if value}}


def _shared(name: str, *others: str) -> AliasChoices:
    """Names of a variable that other programs read too; ours with the prefix comes first."""
    return AliasChoices(f"{PREFIX}{name}", name, *others)


class Settings(BaseSettings):
    """Every setting. Environment variables are the field names in capitals with the prefix ``TERTULIA_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENV_FILE_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8283
    data_dir: Path = Path("~/.tertulia")
    db: Annotated[str | None, Field(repr=False)] = None
    db_pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    api_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**31)] = 10 * 1024 * 1024
    max_header_bytes: Annotated[int, Field(ge=4096, le=1024 * 1024)] = 64 * 1024
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    request_timeout: Annotated[float, Field(gt=0, le=_DAY)] = 30
    reader_timeout: Annotated[float, Field(gt=0, le=_DAY)] = 60
    keep_alive: Annotated[float, Field(gt=0, le=_DAY)] = 75
    allowed_hosts: Names = ()
    cors_origins: Names = ()
    shutdown_delay: Annotated[float, Field(ge=0, le=_DAY)] = 0
    shutdown_grace: Annotated[int, Field(ge=0, le=_DAY)] = 5
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    approval_deadline: Annotated[int, Field(ge=1, le=_CENTURY)] = 7 * 86_400
    queue_limit: Annotated[int, Field(ge=1, le=_MANY)] = 100
    max_runs: Annotated[int, Field(ge=1, le=_MANY)] = 2000
    lease: Annotated[float, Field(ge=1, le=600)] = 10
    compaction_threshold: Annotated[float, Field(ge=0.1, le=1)] = 0.9
    description_model: str | None = None
    event_retention: Annotated[int, Field(ge=60, le=_CENTURY)] = 7 * 86_400

    default_model: str = EMBEDDED_MODEL
    models_dir: Path | None = None
    local_threads: Annotated[int, Field(ge=1, le=1024)] = 1
    local_context: Annotated[int, Field(ge=512, le=2**24)] | None = None

    provider_variables: dict[str, SecretStr] = Field(default={}, validation_alias=PROVIDER_VARIABLES)
    endpoints: dict[str, NamedEndpoint] = {}
    model_connect_timeout: Annotated[float, Field(gt=0, le=_DAY)] = 10
    model_idle_timeout: Annotated[float, Field(gt=0, le=_DAY)] = 300
    model_retries: Annotated[int, Field(ge=0, le=10)] = 2

    exa_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("EXA_API_KEY"))
    searxng_base_url: PlainUrl | None = Field(default=None, validation_alias=_shared("SEARXNG_BASE_URL"))
    allow_private_addresses: bool = False
    tool_sandbox: Literal["auto", "off"] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings
        read = [source.env_vars for source in (env_settings, dotenv_settings) if isinstance(source, EnvSettingsSource)]
        return init_settings, env_settings, dotenv_settings, _ProviderVariables(settings_cls, *read)

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object, info: ValidationInfo) -> object:
        """Texts as they were meant: what surrounds them is no part of them, and a blank one is none."""
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(plain, str):
            return value
        check_text(plain.strip())
        if not plain.strip():
            if plain and info.field_name in _KEYS:
                raise ValueError("it is blank; set a key, or remove the variable")
            return cls.model_fields[info.field_name or ""].get_default()
        return SecretStr(plain.strip()) if isinstance(value, SecretStr) else plain.strip()

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else _absolute(value)

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _VISIBLE.fullmatch(value.get_secret_value()):
            raise ValueError(
                "it is sent in a header, so it may contain only ASCII letters, digits and punctuation, and no spaces"
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                message = f"'{origin}' is not an origin such as http://localhost:3000"
                raise ValueError(message)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST_NAME.fullmatch(name):
                message = f"'{name}' is not a name such as tertulia.example.org, without a scheme and a port"
                raise ValueError(message)
        return value

    @field_validator("db")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not (
            value == EMBEDDED_PG or _SQLITE_URL.fullmatch(value) or POSTGRES_URL.match(value)
        ):
            message = (
                f"'{without_password(value)}' is not supported; specify a database as sqlite:///path/to/file.db or "
                f"postgresql://user:password@host/name, or {EMBEDDED_PG} for a PostgreSQL that the server runs itself"
            )
            raise ValueError(message)
        if value is not None:
            check_database_url(value)
        if value is not None and _SQLITE_URL.fullmatch(value):
            _absolute(Path(unquote(value.removeprefix("sqlite:///"))))
        return value

    @field_validator("secret_key")
    @classmethod
    def _encryption_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            encryption_keys(value.get_secret_value())
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

    @field_validator("provider_variables")
    @classmethod
    def _addresses(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        given = {name: secret.get_secret_value() for name, secret in value.items()}
        complaints = [*no_texts(given), *wrong_addresses(given)]
        if complaints:
            raise ValueError("\n  ".join(complaints))
        return value

    @field_validator("endpoints")
    @classmethod
    def _endpoint_names(cls, value: dict[str, NamedEndpoint]) -> dict[str, NamedEndpoint]:
        for name in value:
            if name in _RESERVED_NAMES:
                message = f"the name '{name}' is taken by a built-in provider; choose another one"
                raise ValueError(message)
            if not _ENDPOINT_NAME.fullmatch(name):
                message = f"the name '{name}' may contain only lowercase letters, digits, '.', '_' and '-'"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _no_open_door(self) -> Self:
        if is_loopback(self.host):
            return self
        if self.api_key is None:
            message = (
                f"the host {self.host} can be reached from other machines, so a key is needed: "
                "set TERTULIA_API_KEY, or use 127.0.0.1"
            )
            raise ValueError(message)
        if len(self.api_key.get_secret_value()) < _SHORTEST_API_KEY:
            message = (
                f"the host {self.host} can be reached from other machines, and TERTULIA_API_KEY is shorter than "
                f"{_SHORTEST_API_KEY} characters; generate one with: openssl rand -hex 32"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _shared_database(self) -> Self:
        if self.workers > 1 and self.database_path is not None:
            message = (
                f"{self.workers} workers need a database that they can share, and SQLite is for one process: set "
                f"TERTULIA_DB=postgresql://… or {EMBEDDED_PG}, or use 1 worker"
            )
            raise ValueError(message)
        return self

    @property
    def database_path(self) -> Path | None:
        """The SQLite file; None if the database is a PostgreSQL."""
        if self.db is None:
            return self.data_dir / "tertulia.db"
        if not _SQLITE_URL.fullmatch(self.db):
            return None
        return _absolute(Path(unquote(self.db.removeprefix("sqlite:///"))))

    @property
    def postgres_url(self) -> str | None:
        """The PostgreSQL that is to be used, as its own programs take it; None if there is none but our own."""
        found = POSTGRES_URL.match(self.db or "")
        return f"postgresql://{self.db[found.end() :]}" if self.db and found else None

    @property
    def embedded_directory(self) -> Path:
        """Where the PostgreSQL that the server runs itself has its files."""
        return self.data_dir / EMBEDDED_PG

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys that credentials are encrypted under, the newest first, as base64 of the URL-safe alphabet."""
        return encryption_keys(self.secret_key.get_secret_value()) if self.secret_key else ()

    @property
    def providers(self) -> ProviderSettings:
        given = {name: secret.get_secret_value() for name, secret in self.provider_variables.items()}
        return ProviderSettings(
            endpoints=(*endpoints_of(given), *self._named_endpoints()),
            base_urls=base_urls_of(given),
            chatgpt_auth_base_url=given.get("CHATGPT_AUTH_BASE_URL"),
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

    def _named_endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(
                name=name,
                base_url=entry.base_url,
                api_key=_revealed(entry.api_key),
                models=entry.models,
            )
            for name, entry in self.endpoints.items()
        )


def _absolute(path: Path) -> Path:
    """:raises ValueError: if there is no such account, no home, or no current directory that it could start from."""
    check_text(str(path))
    try:
        return path.expanduser().absolute()
    except (OSError, RuntimeError) as error:
        message = f"'{path}' cannot be resolved ({error}); use an absolute path"
        raise ValueError(message) from error


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
    if field_name == "provider_variables":
        return tuple(prefixed for name in VARIABLES for prefixed in (name, PREFIX + name))
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
    written = dotenv_values(ENV_FILE, encoding=ENV_FILE_ENCODING) if Path(ENV_FILE).is_file() else {}
    return {**written, **os.environ}


def unknown_variables() -> list[str]:
    """Variables with our prefix, in the environment or `.env`, that no setting reads: most likely misspelt."""
    known = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    return sorted(name for name in _given_variables() if name.upper().startswith(PREFIX) and name.upper() not in known)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
