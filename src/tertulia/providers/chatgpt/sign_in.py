"""Signing in to ChatGPT with a code that the user confirms in a browser, and renewing the tokens that this gives.

It imports the HTTP client, which most servers that use no ChatGPT account need not load.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import msgspec

from tertulia.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderMalformedReply,
    ProviderTimeout,
)
from tertulia.providers.chatgpt.tokens import AUTH_BASE_URL, CLIENT_ID, ChatGPTTokens, tokens_of
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import failure_below, retry_after
from tertulia.providers.openai.errors import error_of_status

_SIGN_IN_AGAIN: Final = "Sign in again: tertulia login chatgpt."
_CODE_SECONDS: Final = 15 * 60
_TIMEOUT: Final = 30.0
_NOT_YET: Final = frozenset({403, 404})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What the user does: open ``verification_url`` and enter ``user_code`` there. Times are seconds."""

    verification_url: str
    user_code: str
    device_auth_id: str
    interval: float
    expires_in: float = _CODE_SECONDS


async def request_device_code(auth_base_url: str = AUTH_BASE_URL) -> DeviceCode:
    """Ask for a code that the user can confirm.

    :raises ProviderError: if the service gives none.
    """
    base = auth_base_url.rstrip("/")
    status, reply = await _post(base, "/api/accounts/deviceauth/usercode", {"client_id": CLIENT_ID})
    _check(status, reply, base)
    code, device = reply.get("user_code") or reply.get("usercode"), reply.get("device_auth_id")
    if not isinstance(code, str) or not isinstance(device, str):
        raise _malformed("no code to sign in with", reply)
    return DeviceCode(
        verification_url=f"{base}/codex/device",
        user_code=code,
        device_auth_id=device,
        interval=_interval(reply.get("interval")),
    )


async def wait_for_tokens(
    code: DeviceCode,
    auth_base_url: str = AUTH_BASE_URL,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> ChatGPTTokens:
    """The tokens, once the user has confirmed the code.

    :raises ProviderTimeout: if they did not in time.
    :raises ProviderError: if the service refuses.
    """
    base = auth_base_url.rstrip("/")
    asked = {"device_auth_id": code.device_auth_id, "user_code": code.user_code}
    end = time.monotonic() + code.expires_in
    while True:
        status, reply = await _post(base, "/api/accounts/deviceauth/token", asked)
        if status not in _NOT_YET:
            break
        if time.monotonic() + code.interval > end:
            raise ProviderTimeout("The code was not confirmed in time. Ask for a new one: tertulia login chatgpt.")
        await sleep(code.interval)
    _check(status, reply, base)
    form = {
        "grant_type": "authorization_code",
        "code": str(reply.get("authorization_code")),
        "redirect_uri": f"{base}/deviceauth/callback",
        "client_id": CLIENT_ID,
        "code_verifier": str(reply.get("code_verifier")),
    }
    status, reply = await _post(base, "/oauth/token", form, as_form=True)
    _check(status, reply, base)
    return _tokens(reply)


async def refresh(tokens: ChatGPTTokens, auth_base_url: str = AUTH_BASE_URL) -> ChatGPTTokens:
    """New tokens. The old refresh token is used up by that.

    :raises ProviderAuthenticationError: if the user has to sign in again.
    :raises ProviderError: if the service cannot tell now.
    """
    base = auth_base_url.rstrip("/")
    asked = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
    status, reply = await _post(base, "/oauth/token", asked)
    if status in {400, 401, 403}:
        raise ProviderAuthenticationError(
            f"The sign-in to ChatGPT is no longer valid. {_SIGN_IN_AGAIN}", detail=_words(reply)
        )
    _check(status, reply, base)
    return _tokens(reply, tokens)


async def _post(base: str, path: str, body: Mapping[str, str], *, as_form: bool = False) -> tuple[int, dict[str, Any]]:
    """Status and body of a reply, an empty one if it is no JSON object.

    :raises ProviderError: if there is none, or a failure that has nothing to do with what was asked.
    """
    subject = _subject(base)
    try:
        async with httpx2.AsyncClient(timeout=_TIMEOUT) as client:
            form, json = (body, None) if as_form else (None, body)
            response = await client.post(base + path, data=form, json=json)
    except httpx2.HTTPError as error:
        raise failure_below(error, subject, started=False) from error
    try:
        reply: Any = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        reply = {}
    if response.status_code == 429 or response.status_code >= 500:  # noqa: PLR2004  HTTP
        raise error_of_status(response.status_code, reply, subject, retry_after(response))
    return response.status_code, reply if isinstance(reply, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _check(status: int, reply: dict[str, Any], base: str) -> None:
    if status >= 400:  # noqa: PLR2004  HTTP
        raise ProviderAuthenticationError(
            f"{base} refused the sign-in to ChatGPT with status {status}. {_SIGN_IN_AGAIN}", detail=_words(reply)
        )


def _tokens(reply: dict[str, Any], previous: ChatGPTTokens | None = None) -> ChatGPTTokens:
    if isinstance(lifetime := reply.get("expires_in"), int | float):
        reply = {**reply, "expires_at": time.time() + lifetime}
    try:
        return tokens_of({key: value for key, value in reply.items() if key != "account_id"}, previous)
    except ValueError as error:
        raise _malformed("no tokens", reply) from error


def _malformed(what: str, reply: dict[str, Any]) -> ProviderError:
    return ProviderMalformedReply(
        f"The sign-in service of ChatGPT sent {what}. Try again.", detail=f"fields: {', '.join(reply) or 'none'}"
    )


def _words(reply: dict[str, Any]) -> str:
    """What the service says of a failure, which holds no secret."""
    error: Any = reply.get("error")
    fields: dict[str, Any] = error if isinstance(error, dict) else reply  # pyright: ignore[reportUnknownVariableType]
    said = (fields.get(name) for name in ("code", "error", "message", "error_description", "detail"))
    return ": ".join(word for word in said if isinstance(word, str))[:500]


def _interval(value: object) -> float:
    try:
        return max(1.0, float(str(value)))
    except ValueError:
        return 5.0


def _subject(base: str) -> Subject:
    return Subject(name="The sign-in service of ChatGPT", endpoint=base, key_hint=_SIGN_IN_AGAIN)
