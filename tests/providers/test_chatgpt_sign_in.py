"""Signing in to ChatGPT, and what the tokens say."""

import msgspec
import pytest

from tertulia.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.providers.chatgpt.sign_in import DeviceCode, refresh, request_device_code, wait_for_tokens
from tertulia.providers.chatgpt.tokens import ChatGPTTokens, claims, from_json, to_json
from tests.support.chatgpt_tokens import jwt
from tests.support.raw_http import RawServer, response

PENDING = response(403, b'{"error": {"code": "deviceauth_authorization_unknown"}}')
CONFIRMED = response(200, b'{"authorization_code": "ac", "code_challenge": "cc", "code_verifier": "cv"}')
ID_TOKEN = jwt(
    email="ada@example.org",
    **{"https://api.openai.com/auth": {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus"}},
)
ACCESS = jwt(exp=4_000_000_000)
GRANTED = response(
    200, msgspec.json.encode({"access_token": ACCESS, "refresh_token": "rt", "id_token": ID_TOKEN, "expires_in": 60})
)


class Naps:
    """Sleeping that takes no time."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def code(**fields: float) -> DeviceCode:
    times = {"interval": 5.0, **fields}
    return DeviceCode(verification_url="https://x/codex/device", user_code="ABCD-1", device_auth_id="dev", **times)


async def test_a_code_is_given_to_confirm() -> None:
    reply = response(200, b'{"device_auth_id": "dev", "user_code": "ABCD-1", "interval": "7"}')
    async with RawServer(reply) as server:
        base = server.url.removesuffix("/v1")
        given = await request_device_code(base + "/")
        assert given == DeviceCode(
            verification_url=f"{base}/codex/device", user_code="ABCD-1", device_auth_id="dev", interval=7
        )
        (asked,) = server.requests
        assert (asked.path, asked.json) == (
            "/api/accounts/deviceauth/usercode",
            {"client_id": "app_EMoamEEZ73f0CkXaXp7hrann"},
        )


async def test_tokens_come_once_the_code_is_confirmed() -> None:
    naps = Naps()
    async with RawServer(PENDING, response(404, b""), CONFIRMED, GRANTED) as server:
        base = server.url.removesuffix("/v1")
        tokens = await wait_for_tokens(code(), base, sleep=naps)
        polled, exchanged = server.requests[0], server.requests[-1]
    assert naps.taken == [5, 5]
    assert (polled.path, polled.json) == (
        "/api/accounts/deviceauth/token",
        {"device_auth_id": "dev", "user_code": "ABCD-1"},
    )
    assert exchanged.path == "/oauth/token"
    assert exchanged.headers["content-type"] == "application/x-www-form-urlencoded"
    assert exchanged.body.decode().split("&") == [
        "grant_type=authorization_code",
        "code=ac",
        f"redirect_uri={base.replace(':', '%3A').replace('/', '%2F')}%2Fdeviceauth%2Fcallback",
        "client_id=app_EMoamEEZ73f0CkXaXp7hrann",
        "code_verifier=cv",
    ]
    assert (tokens.access_token, tokens.refresh_token, tokens.account_id) == (ACCESS, "rt", "acc-1")
    assert (tokens.expires_at, tokens.email, tokens.plan) == (4_000_000_000, "ada@example.org", "plus")


async def test_a_code_that_nobody_confirms_runs_out() -> None:
    async with RawServer(PENDING) as server:
        with pytest.raises(ProviderTimeout, match="tertulia login chatgpt"):
            await wait_for_tokens(code(expires_in=4.0), server.url, sleep=Naps())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(400, b'{"error": "access_denied"}'), ProviderAuthenticationError),
        (response(503, b"busy", content_type="text/plain"), ProviderOverloaded),
        (response(200, b"{}"), ProviderMalformedReply),
        (response(200, b"<html>", content_type="text/html"), ProviderMalformedReply),
    ],
)
async def test_a_sign_in_that_fails_says_how(reply: list[bytes], kind: type[ProviderError]) -> None:
    async with RawServer(reply) as server:
        with pytest.raises(kind):
            await request_device_code(server.url)
    async with RawServer(CONFIRMED, reply) as server:
        with pytest.raises(kind):
            await wait_for_tokens(code(), server.url)


async def test_a_service_that_is_not_there_is_told() -> None:
    async with RawServer() as server:
        url = server.url
    with pytest.raises(ProviderUnreachable):
        await request_device_code(url)


async def test_what_a_renewal_does_not_give_stays() -> None:
    old = ChatGPTTokens(access_token="a", refresh_token="rt-1", account_id="acc-1", id_token=ID_TOKEN)
    async with RawServer(response(200, b'{"access_token": "b", "account_id": "acc-other"}')) as server:
        new = await refresh(old, server.url)
    assert (new.access_token, new.refresh_token, new.account_id, new.id_token) == ("b", "rt-1", "acc-1", ID_TOKEN)


def test_tokens_are_kept_as_text_and_shown_to_nobody() -> None:
    tokens = ChatGPTTokens(
        access_token=ACCESS, refresh_token="rt", expires_at=4_000_000_000, account_id="acc-1", id_token=ID_TOKEN
    )
    assert from_json(to_json(tokens)) == tokens
    assert not any(secret in repr(tokens) for secret in (ACCESS, "rt'", ID_TOKEN))


@pytest.mark.parametrize("expires_at", [1_900_000_000, 1_900_000_000_000, "2030-03-17T17:46:40Z"])
def test_tokens_of_other_clients_are_taken(expires_at: object) -> None:
    given = {"access_token": "at", "refresh_token": "rt", "account_id": "acc-1", "expires_at": expires_at}
    assert from_json(msgspec.json.encode(given).decode()).expires_at == 1_900_000_000
    tool = {"OPENAI_API_KEY": None, "tokens": {"id_token": ID_TOKEN, "access_token": ACCESS, "refresh_token": "rt"}}
    assert from_json(msgspec.json.encode(tool).decode()).account_id == "acc-1"


@pytest.mark.parametrize("text", ["", "sk-abc", "[]", "{}", '{"access_token": "a"}', '{"refresh_token": 5}'])
def test_what_holds_no_tokens_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"tokens|access_token"):
        from_json(text)


@pytest.mark.parametrize("token", [None, "", "a.b", "a.!!!.c", "a.bm90IGpzb24.c", "a.W10.c"])
def test_a_token_that_says_nothing_is_no_failure(token: str | None) -> None:
    assert claims(token) == {}
