"""The catalogue as those see it who change it while the server runs."""

from typing import Protocol

from tertulia.domain.providers import Credentials, ProviderAccount


class Keeper(Protocol):
    """Keeps the credentials of one account, where a provider gives new ones in place of those that were used up."""

    async def load(self) -> Credentials | None:
        """As they are kept, which another worker may have seen to; None if the account is gone."""
        ...

    async def save(self, credentials: Credentials) -> None:
        """Keep these in place of those that were loaded last, unless somebody else changed them meanwhile."""
        ...


class Accounts(Protocol):
    """Providers that are added, changed and removed at run time. ``probe`` and ``sync_models`` alone ask them."""

    def is_configured(self, name: str) -> bool:
        """Whether handles that begin with the name are a provider's of the configuration."""
        ...

    def check_account(self, account: ProviderAccount) -> None:
        """Say whether the account can be used as it is.

        :raises InvalidArgument: if its type is not known or has no adapter, something the type needs is missing or
            not valid, or its name means another type.
        """
        ...

    def put_account(self, account: ProviderAccount, keeper: Keeper) -> None:
        """Use the account from now on, in place of one of the same name. A configured provider goes first.

        Replies that are being made are ended by the provider that began them.

        :raises InvalidArgument: as ``check_account``.
        """
        ...

    def set_unusable(self, name: str, reason: str) -> None:
        """Answer for the handles of this name with the reason, which is a sentence."""
        ...

    def drop_account(self, name: str) -> None:
        """Forget the account of this name, if there is one."""
        ...

    async def probe(self, account: ProviderAccount) -> None:
        """Ask a provider that is not in the catalogue for its models.

        :raises InvalidArgument: as ``check_account``.
        :raises ProviderError: if the provider does not tell.
        """
        ...

    async def sync_models(self, name: str) -> None:
        """Ask the provider of this name for its models, whenever that was done last.

        :raises ProviderError: if the provider does not tell.
        """
        ...
