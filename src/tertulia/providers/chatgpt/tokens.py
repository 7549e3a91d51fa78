"""What signing in to ChatGPT gives: the tokens, as they are kept, and what they say of themselves. Asks nobody."""

import binascii
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import msgspec

AUTH_BASE_URL: Final = "https://auth.openai.com"
CLIENT_ID: Final = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The public client of OpenAI's own command line tool, the only one that may sign in for the ChatGPT backend."""

_AUTH_CLAIM: Final = "https://api.openai.com/auth"
_PROFILE_CLAIM: Final = "https://api.openai.com/profile"
_MILLISECONDS: Final = 1e11  # seconds until the year 5138; what is more than that counts milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatGPTTokens:
    """``expires_at`` is when the access token ends, in Unix seconds; 0 where that is not known.

    ``account_id`` is the workspace that requests are counted against.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float = 0
    account_id: str | None = None
    id_token: str | None = field(default=None, repr=False)

    @property
    def email(self) -> str | None:
        for token in (self.id_token, self.access_token):
            said = claims(token)
            email = said.get("email") or _dict(said.get(_PROFILE_CLAIM)).get("email")
            if email:
                return str(email)
        return None

    @property
    def plan(self) -> str | None:
        return _auth_claim(self.id_token, self.access_token, name="chatgpt_plan_type")


def tokens_of(given: dict[str, Any], previous: ChatGPTTokens | None = None) -> ChatGPTTokens:
    """The tokens in a reply of the sign-in service, or as they were kept. What is not given stays as it was.

    :raises ValueError: if there is no access token, or nothing to renew it with.
    """
    access = given.get("access_token") or (previous.access_token if previous else None)
    refresh = given.get("refresh_token") or (previous.refresh_token if previous else None)
    id_token = given.get("id_token") or (previous.id_token if previous else None)
    if not isinstance(access, str) or not isinstance(refresh, str):
        message = "they need an access_token and a refresh_token"
        raise ValueError(message)  # noqa: TRY004  what is wrong is the text, not its type
    id_token = id_token if isinstance(id_token, str) else None
    account = given.get("account_id") or (previous.account_id if previous else None)
    return ChatGPTTokens(
        access_token=access,
        refresh_token=refresh,
        expires_at=_seconds(claims(access).get("exp")) or _seconds(given.get("expires_at")),
        account_id=str(account) if account else _auth_claim(id_token, access, name="chatgpt_account_id"),
        id_token=id_token,
    )


def to_json(tokens: ChatGPTTokens) -> str:
    """The tokens as text to keep, which is a secret."""
    return msgspec.json.encode({key: value for key, value in msgspec.to_builtins(tokens).items() if value}).decode()


def from_json(text: str) -> ChatGPTTokens:
    """The tokens in a text that ``to_json`` made, or another client of the service keeps.

    :raises ValueError: if it holds none; the message says what is missing.
    """
    try:
        given: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        message = "the tokens of ChatGPT are JSON: sign in with `tertulia login chatgpt`"
        raise ValueError(message) from error
    fields = _dict(given)
    return tokens_of(_dict(fields.get("tokens")) or fields)


def claims(token: str | None) -> dict[str, Any]:
    """What a token says of itself; nothing if it is none that can be read. It is not verified: its issuer sent it."""
    payload = token.split(".")[1] if token is not None and token.count(".") == 2 else ""  # noqa: PLR2004  of three
    try:
        return _dict(msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (binascii.Error, ValueError):
        return {}


def _auth_claim(*tokens: str | None, name: str) -> str | None:
    found = (_dict(claims(token).get(_AUTH_CLAIM)).get(name) for token in tokens)
    return next((str(value) for value in found if value), None)


def _seconds(value: object) -> float:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0
    if not isinstance(value, int | float):
        return 0
    return value / 1000 if value > _MILLISECONDS else float(value)


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
