"""One sign-in to ChatGPT in use: it gives the access token of the moment, and renews it when it has run out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Final, TypeAlias

from tertulia.domain.errors import ProviderAuthenticationError
from tertulia.providers.chatgpt.tokens import AUTH_BASE_URL, ChatGPTTokens

SaveTokens: TypeAlias = Callable[[ChatGPTTokens], Awaitable[None]]
LoadTokens: TypeAlias = Callable[[], Awaitable[ChatGPTTokens | None]]

_EARLY: Final = 60.0  # seconds before its end that a token is renewed, as a request takes its time


class ChatGPTSession:
    """Called, it gives an access token. ``save`` is awaited with new tokens before the first use of them.

    ``load`` gives the tokens as they are kept, which another process may have renewed. A refresh token is good for one
    use, so new tokens are asked for once however many requests need them, and whoever stops waiting for them.
    """

    def __init__(
        self,
        tokens: ChatGPTTokens,
        save: SaveTokens | None = None,
        auth_base_url: str = AUTH_BASE_URL,
        *,
        load: LoadTokens | None = None,
    ) -> None:
        self._tokens = tokens
        self._save = save
        self._load = load
        self._auth_base_url = auth_base_url
        self._renewal: asyncio.Task[None] | None = None

    @property
    def account_id(self) -> str | None:
        return self._tokens.account_id

    def held(self) -> tuple[str, ...]:
        """What nobody is to be told."""
        return self._tokens.access_token, self._tokens.refresh_token

    async def __call__(self) -> str:
        """The access token of the moment. One of which no end is known is used until it is rejected.

        :raises ProviderAuthenticationError: if the user has to sign in again.
        :raises ProviderError: if there is none now.
        """
        if 0 < self._tokens.expires_at <= time.time() + _EARLY:
            await self.renew(self._tokens.access_token)
        return self._tokens.access_token

    async def renew(self, rejected: str) -> None:
        """Have another access token than the one that was rejected.

        :raises ProviderError: as a call of the session does.
        """
        if self._tokens.access_token != rejected:
            return  # somebody else had it renewed meanwhile
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(rejected), name="renew-chatgpt-tokens")
            self._renewal.add_done_callback(_hear)
        # Whoever is cancelled here must not take along the tokens that are on their way.
        await asyncio.shield(self._renewal)

    async def _renew(self, rejected: str) -> None:
        if await self._found_others(rejected):
            return
        # Loaded here: it imports the HTTP client, which takes 0.2 s, and most servers never renew anything.
        sign_in = await asyncio.to_thread(import_module, "tertulia.providers.chatgpt.sign_in")
        try:
            tokens: ChatGPTTokens = await sign_in.refresh(self._tokens, self._auth_base_url)
        except ProviderAuthenticationError:
            if await self._found_others(rejected):  # another process was quicker with the refresh token
                return
            raise
        if self._save is not None:
            await self._save(tokens)
        self._tokens = tokens

    async def _found_others(self, rejected: str) -> bool:
        kept = await self._load() if self._load is not None else None
        if kept is None or kept.access_token == rejected:
            return False
        self._tokens = kept
        return True


def _hear(renewal: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody may be left to wait for."""
    if not renewal.cancelled():
        renewal.exception()
