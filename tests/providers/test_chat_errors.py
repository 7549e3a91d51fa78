"""The wordings of real servers, and what they mean."""

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
from tertulia.providers.failures import Subject
from tertulia.providers.openai.errors import NoSuchService, error_of_status

SUBJECT = Subject(name="box", endpoint="http://127.0.0.1:1/v1", key_hint="Set BOX_KEY.", model="m")


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message} | fields}


# Who says it, the words, tokens, window.
CONTEXTS: list[tuple[str, dict[str, Any], int | None, int | None]] = [
    (
        "openai",
        error(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
            "Please reduce the length of the messages.",
            code="context_length_exceeded",
        ),
        9001,
        8192,
    ),
    (
        "openai, with a reply",
        error(
            "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (4000 in the "
            "messages, 1000 in the completion)."
        ),
        5000,
        4097,
    ),
    (
        "openai, newer",
        error(
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300001 tokens. "
            "Please reduce the length of the messages.",
            code="context_length_exceeded",
        ),
        300001,
        272000,
    ),
    (
        "openai, newest",
        error("Your input exceeds the context window of this model.", code="context_length_exceeded"),
        None,
        None,
    ),
    (
        "vllm",
        error(
            "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. "
            "Please reduce the length of the input messages."
        ),
        5000,
        4096,
    ),
    (
        "vllm, older",
        error("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        5000,
        4096,
    ),
    (
        "llama.cpp",
        error(
            "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
            type="exceed_context_size_error",
            n_prompt_tokens=5000,
            n_ctx=4096,
        ),
        5000,
        4096,
    ),
    (
        "lm studio",
        {
            "error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded "
            "with context length of only 4096 tokens, which is not enough."
        },
        5000,
        4096,
    ),
    (
        "groq",
        error("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
        None,
        None,
    ),
    (
        "mistral",
        {
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
            "context length"
        },
        40000,
        32768,
    ),
    (
        "sglang",
        {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."},
        5000,
        4096,
    ),
    (
        "openrouter",
        error(
            "This endpoint's maximum context length is 8192 tokens. However, you requested about 10000 tokens (9000 of "
            "text input, 1000 in the output)."
        ),
        10000,
        8192,
    ),
    (
        "xai",
        error("This model's maximum prompt length is 131072 but the request contains 160000 tokens."),
        160000,
        131072,
    ),
    ("fireworks", error("The prompt is too long: 5000, model maximum context length: 4096"), 5000, 4096),
    ("moonshot", error("Invalid request: Your request exceeded model token limit: 8192"), None, 8192),
    (
        "cerebras",
        error("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192"),
        9000,
        8192,
    ),
    (
        "together",
        error("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000"),
        5000,
        4097,
    ),
    ("anthropic", error("prompt is too long: 200001 tokens > 200000 maximum"), 200001, 200000),
]


@pytest.mark.parametrize(("body", "tokens", "window"), [row[1:] for row in CONTEXTS], ids=[row[0] for row in CONTEXTS])
def test_a_request_that_does_not_fit_is_known_in_many_wordings(
    body: dict[str, Any], tokens: int | None, window: int | None
) -> None:
    found = error_of_status(400, body, SUBJECT)
    assert isinstance(found, ContextTooLong)
    assert (found.tokens, found.context_window) == (tokens, window)


MEANINGS: list[tuple[int, object, type[ProviderError]]] = [
    (401, error("Incorrect API key provided"), ProviderAuthenticationError),
    (401, "", ProviderAuthenticationError),
    (403, error("Project does not have access to model"), ProviderPermissionError),
    (403, error("Your input was flagged", code=403), ProviderContentFiltered),
    (402, error("Insufficient Balance"), ProviderQuotaUsedUp),
    (404, error("The model `x` does not exist", code="model_not_found"), ProviderModelNotFound),
    (404, error("The model `x` does not exist."), ProviderModelNotFound),
    (404, error("model 'x' not found, try pulling it first"), ProviderModelNotFound),
    (400, error("x is not a valid model ID"), ProviderModelNotFound),
    (400, error("invalid model ID"), ProviderModelNotFound),
    (404, {"detail": "Not Found"}, NoSuchService),
    (404, "404 page not found", NoSuchService),
    (400, error("Unsupported value: 'temperature'"), ProviderBadRequest),
    (
        400,
        error("max_tokens is too large: 99999. This model supports at most 16384 completion tokens"),
        ProviderBadRequest,
    ),
    (
        400,
        error(
            "'max_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request has "
            "100 input tokens"
        ),
        ProviderBadRequest,
    ),
    (404, error("The model `omni-moderation-9` does not exist"), ProviderModelNotFound),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, ProviderBadRequest),
    (413, "Request Entity Too Large", ProviderBadRequest),
    (
        413,
        error("Request too large: tokens per minute (TPM): Limit 6000", code="rate_limit_exceeded"),
        ProviderRateLimited,
    ),
    (400, error("triggered Azure OpenAI's content management policy", code="content_filter"), ProviderContentFiltered),
    (
        400,
        error("Output data may contain inappropriate content.", code="data_inspection_failed"),
        ProviderContentFiltered,
    ),
    (408, "", ProviderTimeout),
    (504, "<html>Gateway Time-out</html>", ProviderTimeout),
    (429, error("Rate limit reached for requests", code="rate_limit_exceeded"), ProviderRateLimited),
    (429, error("You exceeded your current quota", code="insufficient_quota"), ProviderQuotaUsedUp),
    (503, error("Loading model"), ProviderOverloaded),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, ProviderOverloaded),
    (500, error("The engine is currently overloaded"), ProviderOverloaded),
    (500, error("The server had an error"), ProviderFailed),
    (502, "<html>Bad Gateway</html>", ProviderFailed),
    (400, [{"error": {"code": 400, "message": "a list around it"}}], ProviderBadRequest),
]


@pytest.mark.parametrize(("status", "body", "kind"), MEANINGS)
def test_statuses_and_wordings_have_their_type(status: int, body: object, kind: type[ProviderError]) -> None:
    found = error_of_status(status, body, SUBJECT)
    assert type(found) is kind
    assert found.message
    assert "Traceback" not in found.message


def test_a_wrong_key_says_where_to_set_it() -> None:
    assert "Set BOX_KEY." in error_of_status(401, error("no"), SUBJECT).message


def test_a_quota_used_up_says_that_waiting_does_not_help() -> None:
    found = error_of_status(429, error("You exceeded your current quota", code="insufficient_quota"), SUBJECT)
    assert "billing" in found.message


def test_the_time_to_wait_is_passed_on() -> None:
    assert error_of_status(429, error("slow down"), SUBJECT, 7).retry_after == 7


def test_a_wrong_address_says_so() -> None:
    assert SUBJECT.endpoint in error_of_status(404, "404 page not found", SUBJECT).message
