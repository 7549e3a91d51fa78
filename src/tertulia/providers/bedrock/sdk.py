"""The connection to Bedrock through aiobotocore: credentials, region, signatures, addresses and typed errors.

Importing the SDK takes 0.4 s, and it may not be installed, so this module is imported on first use
(``bedrock_converse``) and by nobody else. It is given bodies as bytes: the SDK would build each from a tree of objects
anew, checking every one, at every turn of a conversation.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import cache
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED, loaders
from botocore import exceptions as boto
from botocore.eventstream import ParserError
from botocore.parsers import ResponseParserError

from tertulia.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderUnreachable,
)
from tertulia.providers import failures
from tertulia.providers.bedrock.errors import KEYS_HINT, Report, error_of
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject

_RUNTIME: Final = "bedrock-runtime"
_CONTROL: Final = "bedrock"
_ANY_REGION: Final = "us-east-1"
"""To sign for, where a user's own address says where requests go."""

_MAX_CONNECTIONS: Final = 10_000
"""Each reply holds one while it streams; the SDK's own limit is 10."""

# The SDK reads AWS_DEFAULT_REGION alone, where all its siblings read AWS_REGION.
_VARIABLES: Final = {"region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)}
_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu")

_REGION_HINT: Final = "Set AWS_REGION, for example to us-east-1."

_BODY: Final = "Body"  # a parameter of ours, taken away again before the SDK looks at them

_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.InvalidConfigError,
    boto.ConfigParseError,
)
_UNREACHABLE: Final = (
    boto.EndpointConnectionError,
    boto.ConnectTimeoutError,
    boto.ProxyConnectionError,
    boto.SSLError,
)

Fields = dict[str, Any]


class _Events(Protocol):
    """The SDK's own registry of handlers."""

    def register(self, event: str, handler: Any) -> None: ...


class _Session(Protocol):
    """What is used of the SDK's session."""

    def register_component(self, name: str, component: object) -> None: ...
    def warm_up_loader_caches(self, service_name: str) -> None: ...
    def get_config_variable(self, logical_name: str) -> str | None: ...
    def create_client(self, service_name: str, **options: Any) -> AbstractAsyncContextManager[Any]: ...


class _Client(Protocol):
    """What is used of the SDK's clients, which it makes at run time."""

    @property
    def meta(self) -> Any: ...
    async def converse(self, **parameters: Any) -> Fields: ...
    async def converse_stream(self, **parameters: Any) -> Fields: ...
    async def list_foundation_models(self, **parameters: Any) -> Fields: ...
    async def list_inference_profiles(self, **parameters: Any) -> Fields: ...


@cache
def _data_loader() -> object:
    """What reads the SDK's descriptions of services, which takes 0.3 s, once for all connections."""
    return cast("Any", loaders).create_loader()


class Connection:
    """The clients of one account and region, made when they are first needed. Times are seconds.

    ``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means.
    """

    errors: Final = (
        boto.BotoCoreError,
        boto.ClientError,
        ResponseParserError,
        ParserError,
        UnicodeDecodeError,  # of the body of an error, which the SDK reads as JSON
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    )

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        session = AioSession(session_vars=_VARIABLES, profile=config.options.get("profile"))
        self._session = cast("_Session", session)
        self._session.register_component("data_loader", _data_loader())
        for service in (_RUNTIME, _CONTROL):
            self._session.warm_up_loader_caches(service)
        self._clients: dict[str, _Client] = {}
        self._making = asyncio.Lock()
        self._open = AsyncExitStack()

    async def stream(self, model: str, body: bytes) -> "Reply":
        """The reply to the body, begun and unread."""
        client = await self._client(_RUNTIME)
        return Reply(await client.converse_stream(modelId=model, **{_BODY: body}))

    async def whole(self, model: str, body: bytes) -> Fields:
        """The reply to the body, all of it at once."""
        client = await self._client(_RUNTIME)
        return await client.converse(modelId=model, **{_BODY: body})

    async def models(self) -> list[Fields]:
        """The foundation models that can answer in text."""
        client = await self._client(_CONTROL)
        page = await client.list_foundation_models(byOutputModality="TEXT")
        return page.get("modelSummaries") or []

    async def profiles(self) -> list[Fields]:
        """The inference profiles, of AWS's making and the user's own."""
        client = await self._client(_CONTROL)
        rows: list[Fields] = []
        more: Fields = {}
        while True:
            page = await client.list_inference_profiles(maxResults=1000, **more)
            rows += page.get("inferenceProfileSummaries") or []
            if not page.get("nextToken"):
                return rows
            more = {"nextToken": page["nextToken"]}

    async def close(self) -> None:
        self._clients.clear()
        await self._open.aclose()

    def failure(self, error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        if self._config.category == "base":
            subject = replace(subject, key_hint=KEYS_HINT)
        if isinstance(error, boto.ClientError):  # the error of a stream is one, too
            return error_of(_report(error), subject)
        detail = f"{type(error).__name__}: {error}"
        if isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
            return ProviderAuthenticationError(f"{subject.name} does not know the AWS region. {_REGION_HINT}")
        if isinstance(error, _NO_CREDENTIALS):
            return ProviderAuthenticationError(
                f"{subject.name} has no AWS credentials that can be used. {subject.key_hint}", detail=detail
            )
        return _failure_below(error, detail, subject, started=started)

    async def _client(self, service: str) -> _Client:
        client = self._clients.get(service)
        if client is not None:
            return client
        async with self._making:
            if service not in self._clients:
                self._clients[service] = await self._made(service)
        return self._clients[service]

    async def _made(self, service: str) -> _Client:
        config = self._config
        base_url: str | None = config.base_url or None
        region = config.options.get("region") or self._session.get_config_variable("region")
        client = await self._entered(service, base_url, region or (_ANY_REGION if base_url else None))
        if base_url is None and service == _CONTROL and _is_of_aws(client):
            # Who points the runtime to an address of their own, and says nothing of the rest, means both.
            runtime = self._clients.get(_RUNTIME) or await self._entered(_RUNTIME, None, region)
            if not _is_of_aws(runtime):
                client = await self._entered(service, runtime.meta.endpoint_url, region)
        return client

    async def _entered(self, service: str, address: str | None, region: str | None) -> _Client:
        config = self._config
        token, keys = _credentials(config)
        # Else a bearer token of the environment would go before the keys given here.
        signature: Any = UNSIGNED if token is not None else "v4" if keys else None
        options = AioConfig(
            connect_timeout=config.connect_timeout,
            read_timeout=config.idle_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=_MAX_CONNECTIONS,
            signature_version=signature,
        )
        making = self._session.create_client(service, region_name=region, endpoint_url=address, config=options, **keys)
        try:
            client: _Client = await self._open.enter_async_context(making)
        except ValueError as error:  # what the SDK says of AWS_ENDPOINT_URL and the like
            raise ProviderBadRequest(
                f"The address of {config.name} is invalid: {error}", detail=f"{type(error).__name__}: {error}"
            ) from error
        _hand_over_bodies(client.meta.events)
        if token is not None:
            client.meta.events.register(f"before-send.{service}", _bearing(token))
        return client


class Reply:
    """A streamed reply as the SDK reads it: one object an event."""

    def __init__(self, response: Fields) -> None:
        self._stream: Any = response["stream"]
        metadata: Fields = response.get("ResponseMetadata") or {}
        self.request_id: str | None = metadata.get("RequestId")

    async def __aiter__(self) -> AsyncGenerator[Fields, None]:
        async for event in self._stream:
            yield event

    def close(self) -> None:
        """Close the socket, unless the reply was read to its end."""
        self._stream.close()


def _credentials(config: EndpointConfig) -> tuple[str | None, Fields]:
    """The Bedrock API key, or the keys to sign with; neither where the SDK is to look for some itself."""
    key, secret = config.options.get("access_key"), config.options.get("secret_key")
    token = config.api_key
    if key is not None and secret is None:  # a stored provider has one field for every kind of secret
        secret, token = token, None
    if token is not None or (key is None and secret is None):
        return token, {}
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return None, dict(zip(names, (key, secret, config.options.get("session_token")), strict=True))


def _hand_over_bodies(events: _Events) -> None:
    """Let requests carry our bytes in place of a body that the SDK builds; they are signed as they are."""

    def take(params: Fields, context: Fields, **_: Any) -> None:
        context[_BODY] = params.pop(_BODY, None)

    def give(params: Fields, context: Fields, **_: Any) -> None:
        if context.get(_BODY) is not None:
            params["body"] = context[_BODY]
            params["headers"]["Content-Type"] = "application/json"

    for operation in ("Converse", "ConverseStream"):
        events.register(f"before-parameter-build.{_RUNTIME}.{operation}", take)
        events.register(f"before-call.{_RUNTIME}.{operation}", give)


def _bearing(token: str) -> Any:
    def add(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = f"Bearer {token}"

    return add


def _is_of_aws(client: _Client) -> bool:
    return (urlsplit(str(client.meta.endpoint_url)).hostname or "").endswith(_AWS_HOSTS)


def _report(error: boto.ClientError) -> Report:
    response = cast("Fields", error.response)
    told: Mapping[str, Any] = response.get("Error") or {}
    metadata: Mapping[str, Any] = response.get("ResponseMetadata") or {}
    headers: Mapping[str, str] = metadata.get("HTTPHeaders") or {}
    try:
        retry_after = max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        retry_after = None
    in_stream = isinstance(error, boto.EventStreamError)
    return Report(
        code=str(told.get("Code") or ""),
        message=str(told.get("Message") or response.get("originalMessage") or "")[:2000],
        status=0 if in_stream else int(metadata.get("HTTPStatusCode") or 0),
        retry_after=retry_after,
    )


def _failure_below(error: Exception, detail: str, subject: Subject, *, started: bool) -> ProviderError:
    """What an error of the connection means."""
    if isinstance(error, _UNREACHABLE):
        return ProviderUnreachable(
            f"{subject.name} cannot be reached at {subject.endpoint}. Check the region, the base URL and the network.",
            detail=detail,
        )
    if isinstance(error, boto.ReadTimeoutError | TimeoutError):
        return failures.timed_out(subject, detail, started=started)
    if isinstance(error, ResponseParserError | ParserError | UnicodeDecodeError):
        if started:
            return ProviderMalformedReply(
                f"{subject.name} sent something that is not an event of a reply.", detail=detail
            )
        return ProviderMalformedReply(
            f"What {subject.name} sends from {subject.endpoint} is not a Converse stream: check its base URL.",
            detail=detail,
        )
    if isinstance(error, boto.HTTPClientError | aiohttp.ClientError | OSError):
        when = "in the middle of the reply" if started else "before a reply came"
        return ProviderConnectionLost(f"The connection to {subject.name} broke {when}. Try again.", detail=detail)
    return ProviderError(f"The request to {subject.name} failed: {error}", detail=detail)
