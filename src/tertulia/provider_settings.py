"""What of the model providers can be configured: their variables, read by the table of types, and what they come to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

from tertulia.domain.addresses import without_password
from tertulia.domain.provider_types import COMPATIBLE, PROVIDER_TYPES, Address, ProviderType


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One configured server of models. They have the handles ``name/model``.

    ``base_url`` has no slash at its end and is as the type's ``address`` says; empty where the type knows its own.
    ``options`` are those of the type, by their names. ``models`` None means: ask the endpoint.
    """

    name: str
    type: ProviderType = COMPATIBLE
    base_url: str = ""
    api_key: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    models: tuple[str, ...] | None = None

    @property
    def has_credentials(self) -> bool:
        """Whether a key, or what takes its place, was given."""
        return self.api_key is not None or any(
            option.name in self.options for option in self.type.options if option.proves
        )


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
    """Everything the model providers are built from. Times are seconds.

    ``base_urls`` are the addresses that take the place of the types' own, by the names of the types, and
    ``chatgpt_auth_base_url`` is where to sign in to ChatGPT in place of OpenAI's address.
    """

    endpoints: tuple[Endpoint, ...] = ()
    base_urls: Mapping[str, str] = field(default_factory=dict[str, str])
    chatgpt_auth_base_url: str | None = None
    local: LocalModels = LocalModels()
    connect_timeout: float = 10
    idle_timeout: float = 300
    retries: int = 2


def plain_address(url: str) -> str:
    """The address without a slash at its end.

    :raises ValueError: if it is no http(s) address.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"'{without_password(url)}' is not an address such as http://127.0.0.1:8080"
        raise ValueError(message)
    return parts._replace(path=parts.path.rstrip("/")).geturl()


def versioned_address(url: str) -> str:
    """The address without a slash at its end; one without a path gets ``/v1``, which every such server listens under.

    :raises ValueError: if it is no http(s) address.
    """
    address = plain_address(url)
    return address if urlsplit(address).path else urlsplit(address)._replace(path="/v1").geturl()


def root_address(url: str) -> str:
    """The address before the version path, which the Messages dialect counts to its own paths.

    :raises ValueError: if it is no http(s) address.
    """
    return plain_address(url).removesuffix("/v1")


ADDRESSES: Final[Mapping[Address, Callable[[str], str]]] = MappingProxyType(
    {
        "versioned": versioned_address,
        "root": root_address,
        "plain": plain_address,
    }
)
"""How each kind of base URL is checked and brought into its form."""

VersionedUrl = Annotated[str, AfterValidator(versioned_address)]
PlainUrl = Annotated[str, AfterValidator(plain_address)]

VARIABLES: Final = tuple(dict.fromkeys(variable for row in PROVIDER_TYPES for variable in row.variables))
"""Every variable that configures a provider, without the prefix that each of them may have."""


def wrong_addresses(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the addresses among the variables, each with the name of its variable."""
    complaints: list[str] = []
    for row in PROVIDER_TYPES:
        for variable in row.url_variables:
            try:
                if variable in given:
                    ADDRESSES[row.address](given[variable])
            except ValueError as error:
                complaints.append(f"{variable}: {error}")
    return complaints


def base_urls_of(given: Mapping[str, str]) -> dict[str, str]:
    """The addresses that were given in place of the types' own."""
    found = ((row, _first(row.url_variables, given)) for row in PROVIDER_TYPES)
    return {row.name: ADDRESSES[row.address](url) for row, url in found if url}


def endpoints_of(given: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints that the variables configure, in the order of the table."""
    endpoints = (_endpoint(row, given) for row in PROVIDER_TYPES)
    return tuple(endpoint for endpoint in endpoints if endpoint is not None)


def _endpoint(row: ProviderType, given: Mapping[str, str]) -> Endpoint | None:
    if not row.needs:
        return None  # it is configured by signing in
    key = _first(row.key_variables, given)
    url = _first(row.url_variables, given)
    options = {option.name: value for option in row.options if (value := _first(option.variables, given))}
    needs_url = not set(row.url_variables).isdisjoint(row.needs)
    has_key = key is not None or any(option.configures and option.name in options for option in row.options)
    if not url and (needs_url or not has_key):
        return None
    base_url = ADDRESSES[row.address](url) if url else row.base_url or ""
    return Endpoint(name=row.name, type=row, base_url=base_url, api_key=key, options=options)


def _first(variables: tuple[str, ...], given: Mapping[str, str]) -> str | None:
    return next((given[variable] for variable in variables if given.get(variable)), None)
