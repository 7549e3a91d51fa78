"""The ChatGPT backend on the Provider port: the Responses dialect, paid for by the plan of a signed-in account."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from tertulia.domain.errors import InvalidArgument, ProviderAuthenticationError, ProviderPermissionError
from tertulia.domain.models import EmbeddingCard
from tertulia.ports.provider import ModelRequest
from tertulia.providers.chatgpt.session import ChatGPTSession
from tertulia.providers.chatgpt.tokens import AUTH_BASE_URL, from_json
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.client import EndpointClient
from tertulia.providers.model_list import Listed
from tertulia.providers.openai import responses_settings
from tertulia.providers.openai.responses_adapter import ResponsesProvider
from tertulia.providers.openai.responses_encoding import cache_key_of

if TYPE_CHECKING:
    import httpx2

_ReplyT = TypeVar("_ReplyT")

AUTH_OPTION: Final = "auth_base_url"
"""The option that says where tokens are renewed, if not at OpenAI's."""

_CLIENT: Final = "tertulia"
_CLIENT_VERSION: Final = "1.0.0"  # models are listed to clients that are new enough for them


class ChatGPTProvider(ResponsesProvider):
    """One account on the Provider port.

    ``config.token`` is its ``ChatGPTSession``; without one, ``config.api_key`` has its tokens as text, and those that
    take their place are kept in memory alone.
    """

    connection = "tertulia.providers.chatgpt.connection"
    models_path = f"/models?client_version={_CLIENT_VERSION}"
    setting_rules = responses_settings.CHATGPT_RULES
    instructions = "You are a helpful assistant."

    def __init__(self, config: EndpointConfig) -> None:
        session = config.token if isinstance(config.token, ChatGPTSession) else _session_of(config)
        headers = {"OpenAI-Beta": "responses=experimental", "originator": _CLIENT, **config.headers}
        if session.account_id is not None:
            headers["chatgpt-account-id"] = session.account_id
        config = replace(config, token=session, api_key=None, headers=headers)
        super().__init__(config)
        self._client = _RenewingClient(config, self.connection, session)

    def headers(self, request: ModelRequest) -> dict[str, str]:
        return {"session_id": cache_key_of(request.cache_key)} if request.cache_key else {}

    def decode_models(self, body: bytes) -> list[Listed]:
        return [
            Listed(id=row.slug, context_window=row.context_window, display_name=row.display_name)
            for row in _decode_models(body).models
            if row.visibility != "hide" and row.supported_in_api is not False
        ]

    async def embeddings(self) -> list[EmbeddingCard]:
        return []


class _Model(Struct):
    """One row of GET /models; the window is tokens."""

    slug: str
    display_name: str | None = None
    context_window: int | None = None
    visibility: str | None = None
    supported_in_api: bool | None = None


class _Models(Struct):
    models: list[_Model]


_decode_models: Final = msgspec.json.Decoder(_Models).decode


class _RenewingClient(EndpointClient):
    """Asks once more, with a new token, where one was rejected before its time."""

    def __init__(self, config: EndpointConfig, module: str, session: ChatGPTSession) -> None:
        super().__init__(config, module)
        self._session = session

    async def post(
        self, path: str, body: bytes, subject: Subject, deadline: float, headers: Mapping[str, str]
    ) -> "httpx2.Response":
        return await self._with_token(partial(super().post, path, body, subject, deadline, headers))

    async def get(self, path: str, subject: Subject) -> bytes:
        return await self._with_token(partial(super().get, path, subject))

    async def _with_token(self, ask: Callable[[], Awaitable[_ReplyT]]) -> _ReplyT:
        token = await self._session()
        try:
            return await ask()
        except ProviderPermissionError:
            raise
        except ProviderAuthenticationError:
            await self._session.renew(token)
        return await ask()


def _session_of(config: EndpointConfig) -> ChatGPTSession:
    try:
        tokens = from_json(config.api_key or "")
    except ValueError as error:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: '{config.name}' has no sign-in to ChatGPT: {error}. "
            "Sign in with: tertulia login chatgpt.",
        ) from error
    return ChatGPTSession(tokens, auth_base_url=config.options.get(AUTH_OPTION, AUTH_BASE_URL))
