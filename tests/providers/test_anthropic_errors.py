"""The wordings of the Messages API and of servers like it, and what they mean."""

from typing import Any

import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderContentFiltered,
    ProviderError,
    ProviderFailed,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
)
from tertulia.providers.anthropic.errors import ReplyTooLong, error_in_reply, error_of_status
from tertulia.providers.failures import Subject

SUBJECT = Subject(name="anthropic", endpoint="http://127.0.0.1:1", key_hint="Set ANTHROPIC_API_KEY.", model="claude-x")


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


RECORDED: list[tuple[int, object, type[ProviderError]]] = [
    (401, error("authentication_error", "invalid x-api-key"), ProviderAuthenticationError),
    (401, "Unauthorized", ProviderAuthenticationError),
    (403, error("permission_error", "Your API key does not have permission …"), ProviderPermissionError),
    (404, error("not_found_error", "model: claude-x"), ProviderModelNotFound),
    (404, error("not_found_error", "Not Found"), ProviderBadRequest),
    (404, "<html>nginx</html>", ProviderBadRequest),
    (307, "", ProviderBadRequest),
    (413, error("request_too_large", "Request exceeds the maximum size"), ContextTooLong),
    (429, error("rate_limit_error", "This request would exceed your organization's rate limit"), ProviderRateLimited),
    (
        400,
        error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        ProviderQuotaUsedUp,
    ),
    (402, error("billing_error", "Payment required"), ProviderQuotaUsedUp),
    (500, error("api_error", "Internal server error"), ProviderFailed),
    (504, error("timeout_error", "Request timed out"), ProviderTimeout),
    (529, error("overloaded_error", "Overloaded"), ProviderOverloaded),
    (529, None, ProviderOverloaded),
    (503, "upstream connect error", ProviderOverloaded),
    (400, error("invalid_request_error", "Output blocked by content filtering policy"), ProviderContentFiltered),
    (
        400,
        error("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ProviderBadRequest,
    ),
    (400, {"error": {"message": "temperature: Extra inputs are not permitted"}}, ProviderBadRequest),
    (422, {"detail": "no such field"}, ProviderBadRequest),
]


@pytest.mark.parametrize(("status", "body", "kind"), RECORDED)
def test_a_recorded_refusal_is_what_it_says(status: int, body: object, kind: type[ProviderError]) -> None:
    found = error_of_status(status, body, SUBJECT)
    assert type(found) is kind
    assert found.message
    assert found.detail


CONTEXTS: list[tuple[str, int | None, int | None]] = [
    ("prompt is too long: 209353 tokens > 200000 maximum", 209353, 200000),
    ("input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input …", 178959, 200000),
    ("Your request exceeded model token limit: 262144", None, None),
    ("input is too long for requested model", None, None),
]


@pytest.mark.parametrize(("message", "tokens", "window"), CONTEXTS)
def test_a_context_that_is_too_long_tells_its_numbers(message: str, tokens: int | None, window: int | None) -> None:
    found = error_of_status(400, error("invalid_request_error", message), SUBJECT)
    assert isinstance(found, ContextTooLong)
    assert (found.tokens, found.context_window) == (tokens, window)
    assert isinstance(found, ReplyTooLong) == ("max_tokens" in message)


def test_the_key_to_set_is_named() -> None:
    assert "ANTHROPIC_API_KEY" in error_of_status(401, error("authentication_error", "no"), SUBJECT).message


@pytest.mark.parametrize("status", [429, 529])
def test_the_time_to_wait_is_kept(status: int) -> None:
    assert error_of_status(status, error("", "wait"), SUBJECT, 12).retry_after == 12


def test_an_error_event_is_known_by_its_type_alone() -> None:
    assert isinstance(
        error_in_reply({"type": "overloaded_error", "message": "Overloaded"}, SUBJECT), ProviderOverloaded
    )
    assert isinstance(error_in_reply(error("rate_limit_error", "wait")["error"], SUBJECT), ProviderRateLimited)


def test_a_quota_used_up_says_that_waiting_does_not_help() -> None:
    for message, may_pass in (
        ("You have reached your specified API usage limits.", False),
        ("This request would exceed the rate limit", True),
    ):
        assert error_of_status(429, error("rate_limit_error", message), SUBJECT).may_pass is may_pass
