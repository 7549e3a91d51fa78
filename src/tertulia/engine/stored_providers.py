"""Providers that are kept in the database: stored with their credentials encrypted, and kept in the catalogue."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import (
    InvalidArgument,
    NameTaken,
    NotFound,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
    SecretUnreadable,
    StoreUnavailable,
    Unprocessable,
)
from tertulia.domain.ids import new_provider_id
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.providers import Credentials, ProviderAccount, StoredProvider, check_name
from tertulia.ports.accounts import Accounts
from tertulia.ports.queries import ProviderQuery
from tertulia.ports.secrets import Secrets
from tertulia.ports.signals import Signals
from tertulia.ports.store import Store, Transaction

LOOK_SECONDS: Final = 3.0
"""How long another worker may not know of a change whose signal was lost."""

_FIXED: Final = {
    "name": "its models' handles begin with it",
    "provider_type": "it decides how its models are spoken to",
}

_SHOWN: Final = ("base_url", "region", "api_version")
_SECRET: Final = ("api_key", "access_key")

# What a check tells, by the nearest kind that is listed.
_CHECK_FAILURES: Final[dict[type[ProviderError], str]] = {
    ProviderPermissionError: "The provider accepts the credentials, but does not allow them to list its models.",
    ProviderAuthenticationError: "The provider did not accept the credentials.",
    ProviderRateLimited: (
        "The provider is rejecting requests at the moment, so it is not known whether it accepts the credentials."
    ),
    ProviderOverloaded: "The provider is overloaded, so it is not known whether it accepts the credentials.",
    ProviderTimeout: "The provider did not answer in time.",
    ProviderUnreachable: "Nothing answers at the provider's address: check base_url.",
    ProviderBadRequest: "The provider's address has no list of models: check base_url and provider_type.",
    ProviderMalformedReply: "The server at the provider's address lists no models: check base_url and provider_type.",
}

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Credentials).decode

log = structlog.get_logger(__name__)


class StoredProviders:
    """Stores and changes providers, and brings the changes of all workers to this one's catalogue."""

    def __init__(self, store: Store, secrets: Secrets, accounts: Accounts, signals: Signals) -> None:
        self._store = store
        self._secrets = secrets
        self._accounts = accounts
        self._signals = signals
        self._known: dict[str, StoredProvider] = {}
        self._looking = asyncio.Lock()
        self._outdated = asyncio.Event()
        signals.subscribe("providers", lambda _: self._outdated.set())

    async def get(self, provider_id: str) -> StoredProvider:
        return await self._store.read(lambda tx: tx.providers.get(provider_id))

    async def find(self, query: ProviderQuery) -> list[StoredProvider]:
        return await self._store.read(lambda tx: tx.providers.find(query))

    async def create(self, account: ProviderAccount) -> StoredProvider:
        """Store a provider; its models can be used at once.

        :raises NameTaken: if a configured or stored provider has the name.
        :raises InvalidArgument: if it cannot be used as it is.
        """
        check_name(account.name)
        if self._accounts.is_configured(account.name):
            raise NameTaken("provider", account.name, "The server's settings have it; choose another name.")
        self._accounts.check_account(account)
        now = utc_now()
        provider = StoredProvider(
            id=new_provider_id(),
            name=account.name,
            provider_type=account.provider_type,
            base_url=account.base_url,
            region=account.region,
            api_version=account.api_version,
            secret=self._seal(account.credentials),
            created_at=now,
            updated_at=now,
        )
        await self._store.write(lambda tx: tx.providers.insert(provider))
        await self._tell(provider.id)
        return provider

    async def update(self, provider_id: str, changes: Mapping[str, Any]) -> StoredProvider:
        """Change the named fields; ``api_key`` and ``access_key`` each alone, too.

        :raises NotFound: if there is no such provider.
        :raises InvalidArgument: if a field cannot be changed, or the provider could not be used afterwards.
        :raises Unprocessable: if kept credentials would be sent to another address than before.
        """

        def write(tx: Transaction) -> StoredProvider:
            provider = self._with(tx.providers.get(provider_id), changes)
            tx.providers.update(provider)
            return provider

        provider = await self._store.write(write)
        await self._tell(provider_id)
        return provider

    async def delete(self, provider_id: str) -> None:
        """Forget it and its credentials. Agents that use its models stay, and cannot be answered by them."""
        await self._store.write(lambda tx: tx.providers.delete(provider_id))
        await self._tell(provider_id)

    async def check(self, account: ProviderAccount) -> None:
        """Ask the provider whether it takes the credentials; nothing is stored.

        :raises InvalidArgument: if the account cannot be used as it is.
        :raises ProviderError: if the provider refuses, or does not answer as one.
        """
        try:
            await self._accounts.probe(account)
        except ProviderError as error:
            raise _without_its_words(error) from None

    async def check_stored(self, provider_id: str) -> None:
        """As ``check``.

        :raises SecretUnreadable: if the credentials cannot be decrypted.
        """
        provider = await self.get(provider_id)
        self._account(provider)
        await self.refresh()
        try:
            await self._accounts.sync_models(provider.name)
        except ProviderError as error:
            raise _without_its_words(error) from None

    async def sync_models(self, provider_id: str) -> StoredProvider:
        """Ask the provider for its models now; fails as ``check_stored``."""
        await self.check_stored(provider_id)

        def write(tx: Transaction) -> StoredProvider:
            synced = replace(tx.providers.get(provider_id), last_synced=utc_now())
            tx.providers.update(synced)
            return synced

        return await self._store.write(write)

    async def credentials(self, provider_id: str) -> tuple[str, Credentials] | None:
        """The credentials as they are stored, encrypted and not; None if the provider is gone.

        :raises SecretUnreadable: if they cannot be decrypted.
        """
        with suppress(NotFound):
            provider = await self.get(provider_id)
            return provider.secret, self._account(provider).credentials
        return None

    async def replace_credentials(self, provider_id: str, before: str, credentials: Credentials) -> str:
        """Store credentials that their user has already, if they are still ``before``; as they are encrypted."""
        sealed = self._seal(credentials)

        def write(tx: Transaction) -> StoredProvider | None:
            with suppress(NotFound):
                provider = tx.providers.get(provider_id)
                if provider.secret == before:
                    provider = replace(provider, secret=sealed, updated_at=utc_now())
                    tx.providers.update(provider)
                    return provider
            return None

        if provider := await self._store.write(write):
            self._known[provider.name] = _spoken(provider)  # whoever uses it knows
            self._signals.publish("providers", [provider_id])
        return sealed

    async def open(self) -> None:
        """Bring what is stored to the catalogue, and encrypt under the newest key what is under an older one."""

        def encrypt_anew(tx: Transaction) -> None:
            for provider in tx.providers.all():
                if self._secrets.outdated(provider.secret):
                    with suppress(SecretUnreadable):  # told below
                        sealed = self._secrets.seal(self._secrets.unseal(provider.secret))
                        tx.providers.update(replace(provider, secret=sealed))

        if any(self._secrets.outdated(provider.secret) for provider in await self._all()):
            await self._store.write(encrypt_anew)
        await self.refresh()

    async def refresh(self) -> None:
        """Bring the catalogue up to date with the database."""
        async with self._looking:
            found = {provider.name: _spoken(provider) for provider in await self._all()}
            for name in self._known.keys() - found.keys():
                self._accounts.drop_account(name)
            for name, provider in found.items():
                if self._known.get(name) != provider:
                    self._put(provider)
            self._known = found

    async def keep_up(self, seconds: float = LOOK_SECONDS) -> None:
        """Look for changes by other workers when they signal one, and so often by itself, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._outdated.wait()
            self._outdated.clear()
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.warning("stored providers cannot be read", reason=str(error))

    async def _tell(self, provider_id: str) -> None:
        await self.refresh()
        self._signals.publish("providers", [provider_id])

    def _put(self, provider: StoredProvider) -> None:
        """One that cannot be used keeps no other from being so, nor the server from starting."""
        try:
            self._accounts.put_account(self._account(provider), _Keeper(self, provider))
        except InvalidArgument as error:
            log.warning("stored provider cannot be used", provider=provider.name, reason=str(error))
            self._accounts.set_unusable(provider.name, str(error))
            return
        if self._accounts.is_configured(provider.name):
            log.warning("stored provider has the name of a configured one, which is used", provider=provider.name)

    def _account(self, provider: StoredProvider) -> ProviderAccount:
        """:raises SecretUnreadable: if the credentials cannot be decrypted."""
        try:
            credentials = _decode(self._secrets.unseal(provider.secret))
        except SecretUnreadable as error:
            raise SecretUnreadable(
                f"INVALID_ARGUMENT: the credentials of the provider '{provider.name}' cannot be decrypted. "
                f"{error.message}",
            ) from error
        return _account(provider, credentials)

    def _with(self, provider: StoredProvider, changes: Mapping[str, Any]) -> StoredProvider:
        """The provider with the changes, if it could be used like this."""
        for field, why in _FIXED.items():
            if changes.get(field, getattr(provider, field)) != getattr(provider, field):
                raise InvalidArgument(
                    f"INVALID_ARGUMENT: the {field} of a provider cannot be changed: {why}. Store another provider.",
                )
        try:
            credentials = self._account(provider).credentials
        except SecretUnreadable:
            if not changes.get("api_key"):
                raise
            credentials = Credentials()  # given anew
        credentials = replace(credentials, **{field: changes[field] for field in _SECRET if field in changes})
        shown = {field: changes[field] for field in _SHOWN if field in changes}
        changed = replace(provider, **shown, secret=self._seal(credentials), updated_at=utc_now())
        self._accounts.check_account(_account(changed, credentials))
        kept = [field for field in _SECRET if field not in changes and getattr(credentials, field)]
        if kept and _goes_elsewhere(provider, changed):
            raise Unprocessable(
                f"The credentials of the provider '{provider.name}' would be sent to a different address from the "
                f"one they were stored for. Send {' and '.join(kept)} again together with the new address.",
                fields=kept,
            )
        return changed

    async def _all(self) -> list[StoredProvider]:
        return await self._store.read(lambda tx: tx.providers.all())

    def _seal(self, credentials: Credentials) -> str:
        return self._secrets.seal(_encode(credentials))


class _Keeper:
    """Implements ``ports.accounts.Keeper`` for one stored provider."""

    def __init__(self, providers: StoredProviders, provider: StoredProvider) -> None:
        self._providers = providers
        self._id = provider.id
        self._secret = provider.secret

    async def load(self) -> Credentials | None:
        found = await self._providers.credentials(self._id)
        if found is None:
            return None
        self._secret, credentials = found
        return credentials

    async def save(self, credentials: Credentials) -> None:
        self._secret = await self._providers.replace_credentials(self._id, self._secret, credentials)


def _account(provider: StoredProvider, credentials: Credentials) -> ProviderAccount:
    return ProviderAccount(
        name=provider.name,
        provider_type=provider.provider_type,
        base_url=provider.base_url,
        region=provider.region,
        api_version=provider.api_version,
        credentials=credentials,
    )


def _goes_elsewhere(before: StoredProvider, after: StoredProvider) -> bool:
    """Whether credentials go to another place: whoever may change a provider is not thereby told its key."""
    if (before.base_url or "").strip().rstrip("/") != (after.base_url or "").strip().rstrip("/"):
        return True
    row = BY_PREFIX.get(before.provider_type)
    by_region = row is None or any(option.name in {"region", "location"} for option in row.options)
    return by_region and before.region != after.region


def _spoken(provider: StoredProvider) -> StoredProvider:
    """The provider without what makes no difference to how it is spoken to."""
    return replace(provider, last_synced=None, updated_at=provider.created_at)


def _without_its_words(error: ProviderError) -> ProviderError:
    """The failure without anything of the answer: the address is the caller's choice, and may be of any service."""
    kind = next((kind for kind in _CHECK_FAILURES if isinstance(error, kind)), ProviderMalformedReply)
    return kind(_CHECK_FAILURES[kind], retry_after=error.retry_after)
