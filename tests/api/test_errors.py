import json
from collections.abc import AsyncIterator

import httpx
import pytest
from structlog.testing import capture_logs

from tertulia.api import errors
from tertulia.api.deps import ApiSettings, Services
from tertulia.api.parsing import parse_json
from tertulia.domain import errors as domain

EXPECTED: dict[type[domain.TertuliaError], int] = {
    domain.InvalidArgument: 400,
    domain.BlockLimitExceeded: 422,
    domain.BlockReadOnly: 400,
    domain.ProviderNotConfigured: 400,
    domain.SecretUnreadable: 400,
    domain.NotFound: 404,
    domain.Conflict: 409,
    domain.NameTaken: 409,
    domain.ConversationBusy: 409,
    domain.BlockClash: 409,
    domain.ApprovalPending: 409,
    domain.QueueFull: 409,
    domain.NothingPending: 400,
    domain.Gone: 410,
    domain.Unprocessable: 422,
    domain.Unsupported: 501,
    domain.StoreUnavailable: 503,
    domain.ServerBusy: 503,
    domain.StreamInterrupted: 503,
    domain.LeaseLost: 503,
    domain.DataDirectoryHeld: 503,
    domain.CopyFailed: 500,  # of the command line alone
    domain.ProviderError: 502,
    domain.ProviderAuthenticationError: 401,
    domain.ProviderPermissionError: 401,
    domain.ProviderRateLimited: 429,
    domain.ProviderQuotaUsedUp: 429,
    domain.ProviderOverloaded: 502,
    domain.ProviderEmptyReply: 502,
    domain.ProviderTimeout: 504,
    domain.ProviderUnreachable: 502,
    domain.ProviderConnectionLost: 502,
    domain.ProviderMalformedReply: 502,
    domain.ProviderBadRequest: 502,
    domain.ProviderFailed: 502,
    domain.ProviderModelNotFound: 502,
    domain.ProviderContentFiltered: 502,
    domain.ProviderReplyTooLong: 502,
    domain.ContextTooLong: 502,
    domain.SystemPromptTooLong: 502,
}


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_body_bytes=2000)


def _all_errors(root: type[domain.TertuliaError]) -> set[type[domain.TertuliaError]]:
    return {root}.union(*(_all_errors(child) for child in root.__subclasses__()))


def test_every_error_of_the_domain_has_a_status_of_its_own_choosing() -> None:
    own = {error for error in _all_errors(domain.TertuliaError) if error.__module__ == domain.__name__}
    assert set(EXPECTED) == own - {domain.TertuliaError}
    for error, status in EXPECTED.items():
        assert errors.status_of(error.__new__(error)) == status, error


def test_every_failure_of_a_run_has_the_status_of_the_exception_it_was() -> None:
    for error, status in EXPECTED.items():
        if issubclass(error, domain.ProviderError):
            assert errors.RUN_FAILURE_STATUS[error.error_type] == status


def test_a_failed_run_tells_when_to_come_back() -> None:
    reply = errors.run_failure_response("llm_rate_limit", "Too many requests.", "slow down", 1.2)
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "2"
    assert json.loads(bytes(reply.body)) == {
        "error": {"type": "llm_rate_limit", "message": "Too many requests.", "detail": "slow down"}
    }


@pytest.mark.parametrize("error", [domain.StoreUnavailable("The database is away."), domain.ServerBusy(3)])
async def test_what_cannot_be_done_for_now_tells_when_to_come_back(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def refuse() -> None:
        raise error

    monkeypatch.setattr(services.catalogue, "models", refuse)
    reply = await client.get("/v1/models/")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert reply.json()["detail"] == str(error)


async def test_a_failure_of_a_provider_outside_a_run_has_the_same_body(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise domain.ProviderTimeout("No answer in 5 s.", detail="read timeout")

    monkeypatch.setattr(services.catalogue, "models", refuse)
    reply = await client.get("/v1/models/")
    assert reply.status_code == 504
    assert reply.json() == {"error": {"type": "llm_timeout", "message": "No answer in 5 s.", "detail": "read timeout"}}


async def test_an_unexpected_exception_is_500_with_no_word_of_the_inside(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise RuntimeError("the secret is xyzzy")

    monkeypatch.setattr(services.catalogue, "models", fail)
    with capture_logs() as logged:
        reply = await client.get("/v1/models/")
    assert reply.status_code == 500
    assert set(reply.json()) == {"detail"}
    assert "xyzzy" not in reply.text
    assert [(line["event"], line["path"]) for line in logged] == [("unexpected failure", "/v1/models/")]


async def test_what_does_not_validate_is_told_in_sentences_and_as_data(client: httpx.AsyncClient) -> None:
    reply = await client.post(
        "/v1/agents/",
        json={"model_settings": {"provider_type": "openai", "temperature": "warm", "nome": "x"}},
    )
    assert reply.status_code == 422
    body = reply.json()
    assert "'model_settings.openai.nome' in the body is not a field this operation takes; remove it." in body["detail"]
    assert "'model_settings.openai.temperature' in the body must be a valid number" in body["detail"]
    assert [error["loc"] for error in body["errors"]] == [
        ["body", "model_settings", "openai", "temperature"],
        ["body", "model_settings", "openai", "nome"],
    ]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"{", "is not valid JSON: Expecting property name"),
        (b'{"name": NaN}', "NaN, an infinity"),
        (b'{"name": "\\ud800"}', "lone surrogate"),
        (b'{"metadata": {"a": 1e999}}', "a number too large"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[]", "must be a JSON object"),
        (b"", "is missing"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused_and_why(
    client: httpx.AsyncClient, sent: bytes, told: str
) -> None:
    reply = await client.post("/v1/agents/", content=sent, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert told in reply.json()["detail"]


def test_a_body_nested_too_deeply_is_not_json_for_us() -> None:
    with pytest.raises(json.JSONDecodeError, match="nested too deeply"):
        parse_json(b"[" * 100_000)


async def test_a_body_that_is_not_called_json_is_not_guessed_at(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/agents/", content=b"{}", headers={"content-type": "text/plain"})
    assert reply.status_code == 422
    assert "content-type: application/json" in reply.json()["detail"]


async def test_a_body_over_the_limit_is_413_by_its_announced_length(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/blocks/", json={"label": "a", "value": "x" * 2000})
    assert reply.status_code == 413
    assert "TERTULIA_MAX_BODY_BYTES" in reply.json()["detail"]


async def test_a_body_over_the_limit_is_413_when_it_comes_in_pieces(client: httpx.AsyncClient) -> None:
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b" " * 500

    reply = await client.post("/v1/blocks/", content=pieces(), headers={"content-type": "application/json"})
    assert reply.status_code == 413
    assert "larger than 2000 bytes" in reply.json()["detail"]


async def test_a_body_at_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    body = json.dumps({"label": "a", "value": "x"}).encode()
    reply = await client.post("/v1/blocks/", content=body.ljust(2000), headers={"content-type": "application/json"})
    assert reply.status_code == 200
