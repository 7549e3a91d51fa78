"""What Bedrock's failures mean, from exceptions as they were seen."""

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
from tertulia.providers.bedrock.errors import Report, error_of, needs_whole_reply
from tertulia.providers.failures import Subject

SUBJECT = Subject(name="bedrock", endpoint="http://127.0.0.1:1", key_hint="Set keys.", model="anthropic.claude-x")

RECORDED: list[tuple[int, str, str, type[ProviderError]]] = [
    (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        ProviderAuthenticationError,
    ),
    (
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
        ProviderAuthenticationError,
    ),
    (
        403,
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided.",
        ProviderAuthenticationError,
    ),
    (403, "MissingAuthenticationTokenException", "Missing Authentication Token", ProviderAuthenticationError),
    (
        403,
        "AccessDeniedException",
        "Authentication failed: Please make sure your API Key is valid.",
        ProviderAuthenticationError,
    ),
    (403, "AccessDeniedException", "Bearer Token has expired", ProviderAuthenticationError),
    (
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
        ProviderPermissionError,
    ),
    (
        403,
        "AccessDeniedException",
        "User: arn:aws:iam::1:user/ada is not authorized to perform: bedrock:InvokeModelWithResponseStream",
        ProviderPermissionError,
    ),
    (429, "ThrottlingException", "Too many requests, please wait before trying again.", ProviderRateLimited),
    (429, "ThrottlingException", "Too many tokens, please wait before trying again.", ProviderRateLimited),
    (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", ProviderQuotaUsedUp),
    (400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", ProviderQuotaUsedUp),
    (429, "ModelNotReadyException", "The model is not ready for inference. Wait and try again.", ProviderOverloaded),
    (503, "ServiceUnavailableException", "Bedrock is unable to process your request.", ProviderOverloaded),
    (408, "ModelTimeoutException", "Model has timed out in processing the request.", ProviderTimeout),
    (424, "ModelErrorException", "The system encountered an unexpected error during processing.", ProviderFailed),
    (500, "InternalServerException", "The system encountered an unexpected error.", ProviderFailed),
    (404, "ResourceNotFoundException", "This model version has reached the end of its life.", ProviderModelNotFound),
    (400, "ValidationException", "The provided model identifier is invalid.", ProviderModelNotFound),
    (
        400,
        "ValidationException",
        "Invocation of model ID anthropic.claude-x with on-demand throughput isn’t supported. Retry your request …",
        ProviderModelNotFound,
    ),
    (
        400,
        "ValidationException",
        "The model returned the following errors: Input is too long for requested model.",
        ContextTooLong,
    ),
    (
        400,
        "ValidationException",
        "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum …",
        ContextTooLong,
    ),
    (
        400,
        "ValidationException",
        "This model's maximum context length is 131072 tokens. Please reduce the length of the prompt",
        ContextTooLong,
    ),
    (400, "ValidationException", "Output blocked by content filtering policy", ProviderContentFiltered),
    (
        400,
        "ValidationException",
        "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value …",
        ProviderBadRequest,
    ),
    (400, "ValidationException", "The text field in the ContentBlock object is blank.", ProviderBadRequest),
    (404, "UnknownOperationException", "", ProviderBadRequest),
    (404, "404", "Not Found", ProviderBadRequest),
    (502, "502", "Bad Gateway", ProviderFailed),
    (401, "", "", ProviderAuthenticationError),
    (418, "", "", ProviderBadRequest),
    # Those that come within a stream have no status.
    (0, "modelStreamErrorException", "The system encountered an unexpected error.", ProviderFailed),
    (0, "throttlingException", "Too many requests", ProviderRateLimited),
    (0, "internalServerException", "oh", ProviderFailed),
    (0, "serviceUnavailableException", "busy", ProviderOverloaded),
    (0, "validationException", "Input is too long", ContextTooLong),
    (0, "validationException", "no", ProviderBadRequest),
    (0, "SomethingNew", "", ProviderFailed),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), RECORDED)
def test_a_failure_is_known_by_its_name_and_wording(
    status: int, code: str, message: str, kind: type[ProviderError]
) -> None:
    error = error_of(Report(code=code, message=message, status=status), SUBJECT)
    assert type(error) is kind
    assert error.detail == (message or code or error.message)
    assert "bedrock" in error.message or SUBJECT.model in error.message


@pytest.mark.parametrize(
    ("message", "tokens", "window"),
    [
        ("prompt is too long: 903884 tokens > 200000 maximum", 903884, 200000),
        ("input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000", 178959, 200000),
        ("This model's maximum context length is 131072 tokens.", None, 131072),
        ("Input is too long for requested model.", None, None),
    ],
)
def test_how_much_too_long_the_request_was_is_told(message: str, tokens: int | None, window: int | None) -> None:
    error = error_of(Report(code="ValidationException", message=message, status=400), SUBJECT)
    assert isinstance(error, ContextTooLong)
    assert (error.tokens, error.context_window) == (tokens, window)


def test_when_to_come_back_is_told() -> None:
    report = Report(code="ThrottlingException", message="wait", status=429, retry_after=7.0)
    assert error_of(report, SUBJECT).retry_after == 7


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        ("This model doesn't support tool use in streaming mode.", True),
        ("The model is unsupported for streaming. This model doesn't support streaming.", True),
        ("This model doesn't support tool use.", False),
    ],
)
def test_models_that_do_not_stream_say_so(message: str, whole: bool) -> None:
    error = error_of(Report(code="ValidationException", message=message, status=400), SUBJECT)
    assert needs_whole_reply(error) is whole
