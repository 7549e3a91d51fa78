"""Providers that are added at run time: checked, made into adapters, and put into the catalogue."""

import asyncio
from typing import Final

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.provider_types import BY_PREFIX, PROVIDER_TYPES, ProviderType
from tertulia.domain.providers import Credentials, ProviderAccount
from tertulia.ports.accounts import Keeper
from tertulia.ports.provider import Provider
from tertulia.provider_settings import ADDRESSES, ProviderSettings
from tertulia.providers.adapter import Adapter
from tertulia.providers.adapters import ADAPTERS, make_adapter
from tertulia.providers.catalogue import ProviderCatalogue
from tertulia.providers.chatgpt.session import ChatGPTSession
from tertulia.providers.chatgpt.tokens import AUTH_BASE_URL, ChatGPTTokens, from_json, to_json
from tertulia.providers.endpoint import EndpointConfig

_CHATGPT: Final = "chatgpt_oauth"
_RESERVED: Final = frozenset({"local", "letta"})


class ProviderAccounts:
    """Implements ``ports.accounts.Accounts`` over the catalogue."""

    def __init__(self, catalogue: ProviderCatalogue, settings: ProviderSettings) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._retiring: set[asyncio.Task[None]] = set()

    def is_configured(self, name: str) -> bool:
        return self._catalogue.is_configured(name)

    def check_account(self, account: ProviderAccount) -> None:
        self._config(account)

    def put_account(self, account: ProviderAccount, keeper: Keeper) -> None:
        self._retire(self._catalogue.store(make_adapter(self._config(account, keeper))))

    def set_unusable(self, name: str, reason: str) -> None:
        self._retire(self._catalogue.refuse(name, reason))

    def drop_account(self, name: str) -> None:
        self._retire(self._catalogue.forget(name))

    async def probe(self, account: ProviderAccount) -> None:
        adapter = make_adapter(self._config(account))
        try:
            await adapter.sync_models()
        finally:
            await adapter.close()

    async def sync_models(self, name: str) -> None:
        provider = self._catalogue.stored(name)
        if isinstance(provider, Adapter):
            await provider.sync_models()

    def _config(self, account: ProviderAccount, keeper: Keeper | None = None) -> EndpointConfig:
        row = _row(account)
        _check_name_of_type(account, row)
        _check_key(account, row)
        settings = self._settings
        auth_base_url = settings.chatgpt_auth_base_url or AUTH_BASE_URL
        session = _session(account, keeper, auth_base_url) if row.provider_type == _CHATGPT else None
        return EndpointConfig(
            name=account.name,
            type=row,
            category="byok",
            base_url=_base_url(account, row, settings),
            api_key=None if session else account.credentials.api_key,
            token=session,
            held=session.held if session else tuple,
            options=_options(account),
            connect_timeout=settings.connect_timeout,
            idle_timeout=settings.idle_timeout,
            retries=settings.retries,
        )

    def _retire(self, provider: Provider | None) -> None:
        if isinstance(provider, Adapter):
            task = asyncio.get_running_loop().create_task(provider.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


def _row(account: ProviderAccount) -> ProviderType:
    row = next((row for row in PROVIDER_TYPES if row.provider_type == account.provider_type), None)
    if row is None or row.dialect not in ADAPTERS:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: this release has no adapter for providers of the type '{account.provider_type}'. "
            "A server that speaks OpenAI Chat Completions can be stored with provider_type 'openai' and its base_url.",
        )
    return row


def _check_name_of_type(account: ProviderAccount, row: ProviderType) -> None:
    """A handle such as ``anthropic/…`` means the same kind of provider everywhere."""
    meant = BY_PREFIX.get(account.name)
    if account.name in _RESERVED or (meant is not None and meant is not row):
        what = f"is the name of providers of the type '{meant.provider_type}'" if meant else "is not free"
        raise InvalidArgument(f"INVALID_ARGUMENT: the name '{account.name}' {what}. Choose another name.")


def _check_key(account: ProviderAccount, row: ProviderType) -> None:
    """Servers of one's own may want no key; a public service always does."""
    if row.base_url and not account.base_url and not account.credentials.api_key:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: a provider of the type '{row.provider_type}' needs an api_key, unless it has its own "
            "base_url.",
        )
    if row.dialect == "bedrock" and account.base_url and not account.credentials.api_key:
        # AWS's SDK would look for credentials, and those of the server are not meant for an address of the caller's.
        raise InvalidArgument(
            f"INVALID_ARGUMENT: a provider of the type '{row.provider_type}' with its own base_url also needs its "
            "own api_key.",
        )


def _session(account: ProviderAccount, keeper: Keeper | None, auth_base_url: str) -> ChatGPTSession:
    try:
        tokens = from_json(account.credentials.api_key or "")
    except ValueError as error:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the api_key of a provider of the type '{_CHATGPT}' is the JSON of its tokens: {error}. "
            "`tertulia login chatgpt` signs in and stores them.",
        ) from error
    if keeper is None:
        return ChatGPTSession(tokens, auth_base_url=auth_base_url)

    async def save(tokens: ChatGPTTokens) -> None:
        await keeper.save(Credentials(api_key=to_json(tokens)))

    async def load() -> ChatGPTTokens | None:
        kept = await keeper.load()
        return from_json(kept.api_key) if kept and kept.api_key else None

    return ChatGPTSession(tokens, save, auth_base_url, load=load)


def _options(account: ProviderAccount) -> dict[str, str]:
    """What adapters read beside key and address, by the names they give it."""
    options = {
        "region": account.region,
        "api_version": account.api_version,
        "access_key": account.credentials.access_key,
    }
    return {name: value for name, value in options.items() if value}


def _base_url(account: ProviderAccount, row: ProviderType, settings: ProviderSettings) -> str:
    """Empty where the adapter knows the address by the region."""
    if account.base_url:
        if "@" in account.base_url.partition("://")[2].partition("/")[0]:
            raise InvalidArgument(
                "INVALID_ARGUMENT: base_url contains a user or a password, and is shown in responses: put them in "
                "api_key.",
            )
        try:
            return ADDRESSES[row.address](account.base_url)
        except ValueError as error:
            raise InvalidArgument(f"INVALID_ARGUMENT: base_url: {error}.") from error
    own = settings.base_urls.get(row.name) or row.base_url or ""
    if not own and not set(row.url_variables).isdisjoint(row.needs):
        raise InvalidArgument(
            f"INVALID_ARGUMENT: a provider of the type '{row.provider_type}' has no public address: set base_url.",
        )
    return own
