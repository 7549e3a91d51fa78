"""The wordings of Google's model APIs, and what they mean."""

from typing import Any

import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderError,
    ProviderFailed,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
)
from tertulia.providers.failures import Subject
from tertulia.providers.gemini.errors import error_in_reply, error_of_status
from tests.support.gemini_endpoint import error_info, quota_failure, retry_info

SUBJECT = Subject(name="google_ai", endpoint="http://127.0.0.1:1", key_hint="Set GEMINI_API_KEY.", model="gemini-x")
EXCEEDED = "You exceeded your current quota, please check your plan and billing details."


def error(status: str, message: str, *details: dict[str, Any], code: int = 400) -> dict[str, Any]:
    body: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": body | ({"details": list(details)} if details else {})}


RECORDED: list[tuple[int, object, type[ProviderError]]] = [
    (
        400,
        error("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", error_info("API_KEY_INVALID")),
        ProviderAuthenticationError,
    ),
    (400, error("INVALID_ARGUMENT", "API key expired. Please renew the API key."), ProviderAuthenticationError),
    (
        401,
        error("UNAUTHENTICATED", "Request had invalid authentication credentials.", error_info("ACCESS_TOKEN_EXPIRED")),
        ProviderAuthenticationError,
    ),
    (401, "Unauthorized", ProviderAuthenticationError),
    (
        403,
        error("PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
        ProviderAuthenticationError,
    ),
    (
        403,
        error(
            "PERMISSION_DENIED", "Vertex AI API has not been used in project 1 before", error_info("SERVICE_DISABLED")
        ),
        ProviderPermissionError,
    ),
    (
        403,
        error("PERMISSION_DENIED", "This API method requires billing to be enabled.", error_info("BILLING_DISABLED")),
        ProviderQuotaUsedUp,
    ),
    (
        400,
        error("FAILED_PRECONDITION", "User location is not supported for the API use."),
        ProviderPermissionError,
    ),
    (
        404,
        error("NOT_FOUND", "models/gemini-x is not found for API version v1beta, or is not supported"),
        ProviderModelNotFound,
    ),
    (
        404,
        error("NOT_FOUND", "Publisher Model `projects/p/locations/l/publishers/google/models/x` was not found"),
        ProviderModelNotFound,
    ),
    (404, "<html>nginx</html>", ProviderBadRequest),
    (429, error("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), ProviderRateLimited),
    (
        429,
        error("RESOURCE_EXHAUSTED", EXCEEDED, quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")),
        ProviderRateLimited,
    ),
    (
        429,
        error(
            "RESOURCE_EXHAUSTED",
            EXCEEDED,
            quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            retry_info(20),
        ),
        ProviderQuotaUsedUp,
    ),
    (
        429,
        error("RESOURCE_EXHAUSTED", f"{EXCEEDED}\n* Quota exceeded for metric: x, limit: 0, model: gemini-2.5-pro"),
        ProviderQuotaUsedUp,
    ),
    (500, error("INTERNAL", "An internal error has occurred.", code=500), ProviderFailed),
    (503, error("UNAVAILABLE", "The model is overloaded. Please try again later.", code=503), ProviderOverloaded),
    (503, "upstream connect error", ProviderOverloaded),
    (502, None, ProviderOverloaded),
    (504, error("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."), ProviderTimeout),
    (499, error("CANCELLED", "The operation was cancelled."), ProviderTimeout),
    (400, error("INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."), ContextTooLong),
    (413, "too large", ContextTooLong),
    (
        400,
        error("INVALID_ARGUMENT", "Please ensure that the number of function response parts is equal to …"),
        ProviderBadRequest,
    ),
    (400, [error("INVALID_ARGUMENT", "Invalid JSON payload received.")], ProviderBadRequest),
    (400, {"message": "bad", "status": "Bad Request"}, ProviderBadRequest),
    (422, {"error": "no such field"}, ProviderBadRequest),
    (302, "", ProviderBadRequest),
]


@pytest.mark.parametrize(("status", "body", "kind"), RECORDED)
def test_a_refusal_is_of_the_kind_it_says(status: int, body: object, kind: type[ProviderError]) -> None:
    found = error_of_status(status, body, SUBJECT)
    assert type(found) is kind
    assert found.message.startswith(("google_ai", "The quota", "The credentials", "The request", "There is no"))
    assert found.detail


@pytest.mark.parametrize(
    ("message", "tokens", "window"),
    [
        ("The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", 1200293, 1048576),
        ("The input token count is 1300000 but model only supports up to 1048576.", 1300000, 1048576),
        ("The input token count exceeds the maximum number of tokens allowed.", None, None),
    ],
)
def test_a_context_that_is_too_long_says_how_long(message: str, tokens: int | None, window: int | None) -> None:
    found = error_of_status(400, error("INVALID_ARGUMENT", message), SUBJECT)
    assert isinstance(found, ContextTooLong)
    assert (found.tokens, found.context_window) == (tokens, window)


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [
        (error("RESOURCE_EXHAUSTED", EXCEEDED, retry_info(34.5)), None, 34.5),
        (error("RESOURCE_EXHAUSTED", f"{EXCEEDED} Please retry in 20.5s."), None, 20.5),
        (error("RESOURCE_EXHAUSTED", f"{EXCEEDED} Please retry in 900ms."), None, 0.9),
        (error("RESOURCE_EXHAUSTED", EXCEEDED), 3.0, 3.0),
        (error("RESOURCE_EXHAUSTED", EXCEEDED, {"retryDelay": "soon"}), None, None),
    ],
)
def test_a_rate_limit_says_when_to_come_back(body: object, header: float | None, seconds: float | None) -> None:
    assert error_of_status(429, body, SUBJECT, header).retry_after == seconds


def test_a_wrong_key_is_told_with_where_it_is_set() -> None:
    found = error_of_status(400, error("INVALID_ARGUMENT", "API key not valid."), SUBJECT)
    assert "GEMINI_API_KEY" in found.message


@pytest.mark.parametrize(
    ("reported", "kind"),
    [
        ({"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}, ProviderOverloaded),
        ({"code": 429, "message": "slow down"}, ProviderRateLimited),
        ({"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}, ProviderFailed),
        ({"message": "?"}, ProviderFailed),
        ("broken", ProviderFailed),
    ],
)
def test_an_error_within_a_reply_is_of_the_kind_it_says(reported: object, kind: type[ProviderError]) -> None:
    assert type(error_in_reply(reported, SUBJECT)) is kind
