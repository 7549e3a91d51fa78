"""When a request that failed before its reply began is made again, and how long is waited."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderEmptyReply,
    ProviderError,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.messages import Message, Part
from tertulia.ports.provider import Finished, ModelRequest, ProviderEvent, Retrying, TextPiece
from tertulia.providers.adapter import Adapter, Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_list import Listed
from tertulia.providers.retries import Retries
from tertulia.providers.setting_rules import Rules

REQUEST = ModelRequest(model="m", system="", messages=())
END = Finished(reason="stop", usage=None)
SOON = ProviderOverloaded("busy", retry_after=0)


class Scripted(Adapter):
    """Each try yields what its act says, and fails with the error that ends it."""

    def __init__(self, *acts: Sequence[ProviderEvent | ProviderError], **fields: Any) -> None:
        super().__init__(EndpointConfig(name="box", base_url="http://127.0.0.1:1", **fields))
        self.calls: list[Call] = []
        self.other_body: bytes | None = None
        self._acts = list(acts)

    def rules(self, model: str) -> Rules:
        raise NotImplementedError

    def encode(self, request: ModelRequest) -> bytes:
        return request.model.encode()

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        raise NotImplementedError

    async def attempt(self, call: Call) -> AsyncGenerator[list[ProviderEvent], None]:
        self.calls.append(call)
        for act in self._acts.pop(0):
            if isinstance(act, ProviderError):
                raise act
            yield [act]

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        return self.other_body if isinstance(error, ProviderBadRequest) else None

    async def fetch_models(self) -> list[Listed]:
        raise ProviderBadRequest("box does not know sk-0123456789.", detail="no such key: sk-0123456789")


async def ask(provider: Adapter) -> list[ProviderEvent]:
    async with aclosing(provider.stream(REQUEST)) as events:
        return [event async for event in events]


@pytest.mark.parametrize(
    "kind", [ProviderRateLimited, ProviderOverloaded, ProviderFailed, ProviderUnreachable, ProviderConnectionLost]
)
async def test_what_may_pass_is_tried_again_and_each_try_is_told(kind: type[ProviderError]) -> None:
    first, second = kind("a", retry_after=0), kind("b", retry_after=0)
    provider = Scripted([first], [second], [TextPiece("hi"), END])
    assert await ask(provider) == [Retrying(1, first, 0), Retrying(2, second, 0), TextPiece("hi"), END]
    assert {call.body for call in provider.calls} == {b"m"}


@pytest.mark.parametrize(
    "error",
    [
        ProviderAuthenticationError("no"),
        ProviderBadRequest("no"),
        ContextTooLong("no"),
        ProviderContentFiltered("no"),
        ProviderQuotaUsedUp("no"),
        ProviderMalformedReply("no"),
        ProviderRateLimited("no", retry_after=60),
        ProviderOverloaded("no", retry_after=5.1),
    ],
)
async def test_what_does_not_pass_soon_is_told_at_once(error: ProviderError) -> None:
    provider = Scripted([error], [END])
    with pytest.raises(type(error)):
        await ask(provider)
    assert len(provider.calls) == 1


async def test_nothing_is_tried_again_once_the_reply_began() -> None:
    provider = Scripted([TextPiece("hi"), SOON], [END])
    stream = provider.stream(REQUEST)
    assert await anext(stream) == TextPiece("hi")
    with pytest.raises(ProviderOverloaded):
        await anext(stream)
    assert len(provider.calls) == 1


async def test_the_last_failure_is_the_one_told_when_the_tries_are_used_up() -> None:
    provider = Scripted([SOON], [SOON], [ProviderFailed("broken", retry_after=0)], retries=2)
    with pytest.raises(ProviderFailed, match="broken"):
        await ask(provider)


async def test_a_body_worded_anew_is_asked_with_at_once_and_is_no_retry() -> None:
    provider = Scripted([ProviderBadRequest("not so")], [SOON], [TextPiece("hi"), END], retries=1)
    provider.other_body = b"other"
    assert await ask(provider) == [Retrying(1, SOON, 0), TextPiece("hi"), END]
    assert [call.body for call in provider.calls] == [b"m", b"other", b"other"]


async def test_an_empty_reply_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tertulia.providers.retries._FIRST_WAIT", 0.0)
    provider = Scripted([TextPiece(""), END], [END], [TextPiece("hi"), END], retries=2)
    events = [event for event in await ask(provider) if event != TextPiece("")]
    assert [type(event) for event in events] == [Retrying, Retrying, TextPiece, Finished]
    with pytest.raises(ProviderEmptyReply) as caught:
        await ask(Scripted([END], retries=0))
    assert "empty content in" in caught.value.detail


async def test_a_reply_that_ran_out_of_tokens_before_it_said_anything_is_no_empty_one() -> None:
    end = Finished(reason="length", usage=None)
    assert await ask(Scripted([end])) == [end]


async def test_a_body_is_not_worded_anew_for_ever() -> None:
    provider = Scripted(*[[ProviderBadRequest("not so")]] * 9)
    provider.other_body = b"other"
    with pytest.raises(ProviderBadRequest):
        await ask(provider)
    assert len(provider.calls) == 4


async def test_closing_the_stream_ends_the_wait() -> None:
    provider = Scripted([ProviderOverloaded("busy", retry_after=5)], [END])
    stream = provider.stream(REQUEST)
    assert isinstance(await anext(stream), Retrying)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert len(provider.calls) == 1


def test_the_wait_grows_and_is_never_twice_the_same() -> None:
    error = ProviderFailed("x")
    runs = [Retries(6, 1000) for _ in range(20)]
    waits = [[retry.delay for _ in range(6) if (retry := run.after(error)) is not None] for run in runs]
    for nth, longest in enumerate((0.5, 1, 2, 4, 8, 8)):
        of_nth = [wait[nth] for wait in waits]
        assert all(longest / 2 <= wait <= longest for wait in of_nth)
        assert len(set(of_nth)) > 1


def test_what_the_provider_says_to_wait_is_waited() -> None:
    retry = Retries(1, 100).after(ProviderRateLimited("x", retry_after=4.5))
    assert retry is not None
    assert retry.delay == 4.5


def test_no_try_begins_after_the_time_for_all_of_them() -> None:
    assert Retries(9, 2).after(ProviderRateLimited("x", retry_after=3)) is None
    assert Retries(9, 0).after(ProviderTimeout("the idle timeout itself")) is None


async def test_what_a_server_quotes_of_the_credentials_goes_no_further() -> None:
    kept = {"secret_key": "aws-0123456789", "region": "eu-west-1"}
    quoting = "sk-0123456789 and aws-0123456789 in eu-west-1"
    first, last = ProviderFailed(quoting, retry_after=0), ProviderBadRequest("refused", detail=quoting)
    provider = Scripted([first], [last], api_key="sk-0123456789", options=kept)
    with pytest.raises(ProviderBadRequest) as caught:
        await ask(provider)
    assert [first.message, str(first), first.detail] == ["… and … in eu-west-1"] * 3
    assert caught.value.detail == "… and … in eu-west-1"
    with pytest.raises(ProviderBadRequest) as caught:
        await provider.list_models()
    assert str(caught.value) == "box does not know …."
    assert caught.value.detail == "no such key: …"


async def test_a_short_key_is_no_secret_whose_letters_are_looked_for() -> None:
    provider = Scripted([ProviderBadRequest("no keys here")], api_key="key")
    with pytest.raises(ProviderBadRequest, match="no keys here"):
        await ask(provider)
