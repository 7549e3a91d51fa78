"""The ChatGPT backend: its demands, its failures, and the tokens that run out."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import (
    InvalidArgument,
    ProviderAuthenticationError,
    ProviderModelNotFound,
    ProviderPermissionError,
    ProviderRateLimited,
)
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest, ProviderEvent, TextPiece
from tertulia.providers.chatgpt.adapter import ChatGPTProvider
from tertulia.providers.chatgpt.errors import error_of_status
from tertulia.providers.chatgpt.session import ChatGPTSession
from tertulia.providers.chatgpt.tokens import ChatGPTTokens
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tests.support.raw_http import Abort, RawServer, Step, response
from tests.support.responses_endpoint import ChatGPTEndpoint, Refuse, ResponsesRequest, text

REQUEST = ModelRequest(model="gpt-5", system="Be terse.", messages=(), cache_key="conv-1")
SUBJECT = Subject(name="chatgpt", endpoint="http://x", key_hint="Set it.", model="gpt-9")


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[ChatGPTEndpoint]:
    with ChatGPTEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: ChatGPTEndpoint) -> Iterator[ChatGPTEndpoint]:
    shared_endpoint.reset()
    yield shared_endpoint
    assert shared_endpoint.violations == []


@pytest.fixture
async def auth() -> AsyncGenerator[RawServer, None]:
    async with RawServer() as server:
        server.script(renewed("at-2"))
        yield server


def renewed(access_token: str) -> list[Step]:
    return response(200, msgspec.json.encode({"access_token": access_token, "refresh_token": f"rt-of-{access_token}"}))


class Account:
    """A sign-in, and what was saved of it."""

    def __init__(self, auth: RawServer, expires_at: float = 0) -> None:
        self.saved: list[ChatGPTTokens] = []
        self.kept: ChatGPTTokens | None = None
        tokens = ChatGPTTokens(access_token="at-1", refresh_token="rt-1", expires_at=expires_at, account_id="acc-1")
        self.session = ChatGPTSession(tokens, self.save, auth.url.removesuffix("/v1"), load=self.load)

    async def save(self, tokens: ChatGPTTokens) -> None:
        self.saved.append(tokens)

    async def load(self) -> ChatGPTTokens | None:
        return self.kept


def make(endpoint: ChatGPTEndpoint, account: Account, retries: int = 0) -> ChatGPTProvider:
    row = BY_PREFIX["chatgpt_oauth"]
    return ChatGPTProvider(
        EndpointConfig(name="chatgpt", type=row, base_url=endpoint.url, token=account.session, retries=retries)
    )


async def ask(provider: ChatGPTProvider) -> list[ProviderEvent]:
    async with aclosing(provider.stream(REQUEST)) as stream:
        return [event async for event in stream]


def accepting(*tokens: str) -> Any:
    """What the backend answers: 401 to every other token."""

    def answer(request: ResponsesRequest) -> Any:
        good = request.headers["authorization"].removeprefix("Bearer ") in tokens
        return text("Hi") if good else [Refuse(401, "Your authentication token has been invalidated.")]

    return answer


def tokens_used(endpoint: ChatGPTEndpoint) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in endpoint.requests]


async def test_a_request_is_made_in_the_name_of_the_account(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    provider = make(endpoint, Account(auth))
    assert (await ask(provider))[0] == TextPiece("ok")
    await provider.close()
    (request,) = endpoint.requests
    assert request.path == "/backend-api/codex/responses"
    expected = {
        "authorization": "Bearer at-1",
        "chatgpt-account-id": "acc-1",
        "openai-beta": "responses=experimental",
        "originator": "tertulia",
        "session_id": "conv-1",
        "accept": "text/event-stream",
    }
    assert {name: request.headers.get(name) for name in expected} == expected
    assert not auth.requests


async def test_a_token_that_runs_out_is_renewed_before_it_is_used(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    account = Account(auth, expires_at=1)
    provider = make(endpoint, account)
    await ask(provider)
    await ask(provider)
    await provider.close()
    assert tokens_used(endpoint) == ["at-2", "at-2"]
    (asked,) = auth.requests
    assert (asked.path, asked.json) == (
        "/oauth/token",
        {"client_id": "app_EMoamEEZ73f0CkXaXp7hrann", "grant_type": "refresh_token", "refresh_token": "rt-1"},
    )
    (saved,) = account.saved
    assert (saved.access_token, saved.refresh_token, saved.account_id) == ("at-2", "rt-of-at-2", "acc-1")


async def test_a_token_that_is_rejected_is_renewed_and_the_request_repeated(
    endpoint: ChatGPTEndpoint, auth: RawServer
) -> None:
    endpoint.answer_with(accepting("at-2"))
    account = Account(auth)
    provider = make(endpoint, account)
    assert (await ask(provider))[0] == TextPiece("Hi")
    await provider.close()
    assert tokens_used(endpoint) == ["at-1", "at-2"]
    assert endpoint.requests[0].content == endpoint.requests[1].content


async def test_many_requests_at_once_renew_a_token_once(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    endpoint.answer_with(accepting("at-2"))
    account = Account(auth)
    provider = make(endpoint, account)
    replies = await asyncio.gather(*(ask(provider) for _ in range(5)))
    await provider.close()
    assert [reply[0] for reply in replies] == [TextPiece("Hi")] * 5
    assert (len(auth.requests), len(account.saved)) == (1, 1)


async def test_a_new_token_that_is_rejected_too_is_told(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    endpoint.answer_with(accepting())
    provider = make(endpoint, Account(auth))
    with pytest.raises(ProviderAuthenticationError, match="tertulia login chatgpt"):
        await ask(provider)
    await provider.close()
    assert tokens_used(endpoint) == ["at-1", "at-2"]


async def test_a_sign_in_that_is_over_is_told(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    auth.script(response(401, b'{"error": {"code": "refresh_token_expired", "message": "expired"}}'))
    account = Account(auth, expires_at=1)
    provider = make(endpoint, account)
    with pytest.raises(ProviderAuthenticationError, match="tertulia login chatgpt") as caught:
        await ask(provider)
    await provider.close()
    assert caught.value.detail == "refresh_token_expired: expired"
    assert (endpoint.requests, account.saved) == ([], [])


async def test_tokens_that_another_process_renewed_are_used(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    endpoint.answer_with(accepting("at-9"))
    account = Account(auth)
    account.kept = ChatGPTTokens(access_token="at-9", refresh_token="rt-9")
    provider = make(endpoint, account)
    assert (await ask(provider))[0] == TextPiece("Hi")
    await provider.close()
    assert not auth.requests


async def test_whoever_stops_waiting_does_not_lose_the_new_tokens(auth: RawServer) -> None:
    account = Account(auth, expires_at=1)
    waiting = asyncio.create_task(account.session())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await account.session() == "at-2"
    assert (len(auth.requests), len(account.saved)) == (1, 1)


async def test_a_renewal_that_fails_for_now_is_tried_again_with_the_request(
    endpoint: ChatGPTEndpoint, auth: RawServer
) -> None:
    auth.script([Abort()], renewed("at-2"))
    provider = make(endpoint, Account(auth, expires_at=1), retries=1)
    events = await ask(provider)
    await provider.close()
    assert TextPiece("ok") in events


async def test_the_models_of_the_plan_are_listed(endpoint: ChatGPTEndpoint, auth: RawServer) -> None:
    provider = make(endpoint, Account(auth))
    cards = await provider.models()
    assert await provider.embeddings() == []
    await provider.close()
    assert [(card.handle, card.context_window) for card in cards][:1] == [("chatgpt/gpt-5-mini", 272_000)]
    assert "internal" not in {card.name for card in cards}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            429,
            {"type": "usage_limit_reached", "message": "limit", "plan_type": "plus", "resets_in_seconds": 7265},
            ProviderRateLimited,
            "reset in 2 h 2 min",
        ),
        (429, {"error": {"type": "usage_limit_reached", "resets_in_seconds": 61}}, ProviderRateLimited, "in 2 min"),
        (429, {"type": "usage_limit_reached", "message": "limit"}, ProviderRateLimited, "is reached\\."),
        (429, {"type": "usage_not_included", "message": "no"}, ProviderPermissionError, "does not include"),
        (
            400,
            {"detail": "The 'gpt-9' model is not supported when using Codex with a ChatGPT account."},
            ProviderModelNotFound,
            "no model 'gpt-9'",
        ),
        (401, "nope", ProviderAuthenticationError, "tertulia login chatgpt"),
        (403, {"detail": "forbidden"}, ProviderPermissionError, "may not use"),
        (429, {"message": "Too many requests"}, ProviderRateLimited, "too many requests"),
    ],
)
def test_a_refusal_is_of_its_kind(status: int, body: object, kind: type[Exception], words: str) -> None:
    error = error_of_status(status, body, SUBJECT)
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


def test_the_end_of_a_limit_is_when_to_come_back() -> None:
    error = error_of_status(429, {"type": "usage_limit_reached", "resets_in_seconds": 7265}, SUBJECT)
    assert error.retry_after == 7265


@pytest.mark.parametrize("key", [None, "sk-abc", "{}", '{"access_token": "at"}'])
def test_without_a_sign_in_there_is_no_provider(key: str | None) -> None:
    config = EndpointConfig(name="chatgpt", type=BY_PREFIX["chatgpt_oauth"], base_url="http://x", api_key=key)
    with pytest.raises(InvalidArgument, match="tertulia login chatgpt") as caught:
        ChatGPTProvider(config)
    assert "sk-abc" not in str(caught.value)
