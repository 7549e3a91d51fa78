"""The connection to one Gemini endpoint through Google's SDK, which does credentials, tokens and typed errors.

The SDK's public methods rebuild bodies and replies from classes of their own, which lose what they do not know. So the
client below them is asked: it takes the bytes of a body and gives the reply of our HTTP client, still unread.
Importing the SDK takes a second, so this module is imported on first use and by nobody else.
"""

import asyncio
import warnings
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import google.auth
import httpx2
from google import genai
from google.auth.exceptions import GoogleAuthError, TransportError
from google.genai.errors import APIError
from google.genai.types import HttpOptions, ResourceScope
from google.oauth2.credentials import Credentials
from google.oauth2.service_account import Credentials as AccountCredentials

from tertulia.domain.errors import ProviderAuthenticationError, ProviderError, ProviderUnreachable
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.gemini.addresses import Place, place_of
from tertulia.providers.gemini.errors import error_of_status
from tertulia.providers.http.connection import http_options, timeouts
from tertulia.providers.http.failures import failure_below, retry_after

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class _Request(Protocol):
    headers: dict[str, str]
    data: Any


class _Reply(Protocol):
    response_stream: httpx2.Response


class _Told(Protocol):
    """What an error of the SDK's tells: ``details`` are the decoded body."""

    code: int
    details: object
    response: object


class _Api(Protocol):
    """What is used of the client below the SDK's public one."""

    def _build_request(self, http_method: str, path: str, request_dict: dict[str, Any]) -> _Request: ...
    async def _async_request(self, http_request: _Request, http_options: None = None, *, stream: bool) -> _Reply: ...


class Connection:
    """``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means."""

    errors: tuple[type[Exception], ...] = (
        APIError,
        GoogleAuthError,
        httpx2.HTTPError,
        httpx2.StreamError,
        UnicodeDecodeError,  # of the body of an error, which the SDK reads as JSON
    )

    def __init__(self, config: EndpointConfig) -> None:
        place = place_of(config)
        self._http = httpx2.AsyncClient(
            **http_options(config),
            event_hooks={"request": [_Timeouts(timeouts(config))], "response": [_read_failure]},
        )
        self._client = genai.Client(
            vertexai=place.vertex,
            http_options=HttpOptions(
                # Paths are whole, so the SDK adds neither version nor project to them.
                base_url=place.base_url,
                base_url_resource_scope=ResourceScope.COLLECTION,
                headers=dict(config.headers),
                httpx_async_client=self._http,
            ),
            **_credentials(place, config),
        )
        self._api = cast("_Api", self._client._api_client)  # noqa: SLF001  see above
        self._has_key = place.api_key is not None

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """The reply to a JSON body, still unread. Its ``aclose`` closes the socket unless it was read to its end."""
        return await self._send("post", path, content, headers)

    async def get(self, path: str, timeout: float) -> bytes:  # noqa: ASYNC109  as of the other dialects' connections
        """The body of a reply to GET."""
        try:
            async with asyncio.timeout(timeout):
                response = await self._send("get", path, b"", {})
                try:
                    return await response.aread()
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no list of models within {timeout:g} s") from error

    async def close(self) -> None:
        self._client.close()
        await self._http.aclose()

    @staticmethod
    def failure(error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        if isinstance(error, APIError):
            # Of what is not JSON, the SDK gives the text as a message.
            told = cast("_Told", error)
            pause = retry_after(told.response) if isinstance(told.response, httpx2.Response) else None
            return error_of_status(told.code, told.details, subject, pause)
        if isinstance(error, TransportError):
            return ProviderUnreachable("Google's sign-in service cannot be reached.", detail=str(error))
        if isinstance(error, GoogleAuthError):
            return ProviderAuthenticationError(
                f"There are no usable Google credentials for {subject.name}. Set GOOGLE_APPLICATION_CREDENTIALS to the "
                "key file of a service account, or sign in with: gcloud auth application-default login",
                detail=str(error),
            )
        return failure_below(error, subject, started=started)

    async def _send(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        request = self._api._build_request(method, path, {})  # noqa: SLF001  see above
        request.data = content
        request.headers.update(headers)
        if not self._has_key:
            # The SDK takes one from the environment, which belongs to the Gemini API and must not reach anybody else.
            request.headers.pop("x-goog-api-key", None)
        return (await self._api._async_request(request, stream=True)).response_stream  # noqa: SLF001  see above


class _Timeouts:
    """A request hook that gives each request the client's own limits, which the SDK takes away."""

    def __init__(self, timeout: httpx2.Timeout) -> None:
        self._limits = timeout.as_dict()

    async def __call__(self, request: httpx2.Request) -> None:
        request.extensions = {**request.extensions, "timeout": self._limits}


async def _read_failure(response: httpx2.Response) -> None:
    """A response hook: read here, the body of an error is let go of with its socket if nobody waits for it any more."""
    if not response.is_success:
        await response.aread()


def _credentials(place: Place, config: EndpointConfig) -> dict[str, Any]:
    """The arguments that tell the SDK what to sign requests with. The project is in the paths already.

    :raises ProviderAuthenticationError: if a service account's key, or a file of credentials, is none.
    """
    if place.api_key is not None:
        return {"api_key": place.api_key}
    project = place.parent.split("/")
    named = {"project": project[1], "location": project[3]}
    if place.access_token is not None:
        return {"credentials": Credentials(token=place.access_token), **named}
    try:
        if place.account is not None:
            account = cast("Any", AccountCredentials).from_service_account_info(place.account, scopes=_SCOPES)
            return {"credentials": account, **named}
        if place.file is not None:
            return {"credentials": _of_file(place.file), **named}
    except (GoogleAuthError, ValueError, OSError) as error:
        what = "key of a service account" if place.file is None else f"file of credentials at {place.file}"
        raise ProviderAuthenticationError(f"{config.name} has no usable {what}: {error}") from error
    # Told a project, the SDK looks for the credentials of the machine, which must not reach other hosts.
    return named if place.is_google else {}


def _of_file(path: str) -> object:
    """Credentials of any kind that Google knows."""
    with warnings.catch_warnings():
        # It warns of files from strangers. This one is of who configured the server.
        warnings.simplefilter("ignore", DeprecationWarning)
        credentials, _ = cast("Any", google.auth).load_credentials_from_file(path, scopes=_SCOPES)
    return credentials
