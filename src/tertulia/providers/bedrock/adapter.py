"""The Converse dialect on the Provider port: Amazon Bedrock, for the models of all makers that it serves.

The SDK opens the connection, signs requests and reads the frames of the stream; the body is encoded here.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tertulia.domain.errors import ProviderError
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers import failures
from tertulia.providers.adapter import Adapter, Call
from tertulia.providers.bedrock.encoding import ConverseEncoder
from tertulia.providers.bedrock.errors import needs_whole_reply
from tertulia.providers.bedrock.listing import listed, model_behind, profile_id
from tertulia.providers.bedrock.models import Family, family_of
from tertulia.providers.bedrock.settings import MAX_TEMPERATURE, rules_for
from tertulia.providers.bedrock.stream import ReplyReader
from tertulia.providers.bedrock.whole import events_of
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.client import check_key
from tertulia.providers.model_list import Listed
from tertulia.providers.setting_rules import Rules, cannot

if TYPE_CHECKING:
    from tertulia.providers.bedrock.sdk import Connection

_SDK: Final = "tertulia.providers.bedrock.sdk"
_PACKAGES: Final = frozenset({"aiobotocore", "botocore", "aiohttp"})

ResultT = TypeVar("ResultT")


class BedrockProvider(Adapter):
    """One account and region on the Provider port.

    ``api_key`` of the configuration is a Bedrock API key, or the secret of the option ``access_key`` where there is no
    ``secret_key`` (temporary keys come with a ``session_token``). Without any, the SDK looks where AWS's tools look.
    The options ``region`` and ``profile`` say what the environment would else; ``base_url`` may be empty.
    """

    takes_image_urls = False

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._behind: dict[str, str] = {}
        self._silent: set[str] = set()
        self._encoder = ConverseEncoder(self.writers, self._family)
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    def rules(self, model: str) -> Rules:
        return rules_for(self._family(model))

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        super().check_settings(model, settings)
        if settings.temperature is not None and settings.temperature > MAX_TEMPERATURE:
            raise cannot(
                f"temperature {settings.temperature:g}", f"Converse takes {MAX_TEMPERATURE:g} at most", self.name
            )

    def encode(self, request: ModelRequest) -> bytes:
        if request.settings is not None:
            self.check_settings(request.model, request.settings)
        return self._encoder.encode(request)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        return self._encoder.parts_sent(model, message)

    async def attempt(self, call: Call) -> AsyncGenerator[list[ProviderEvent], None]:
        connection = await self._connected()
        model, subject = call.request.model, call.subject
        reader = ReplyReader(subject)
        if model in self._silent:
            whole = await self._asked(connection, connection.whole(model, call.body), subject, call.deadline)
            yield [event for told in events_of(whole) for event in reader.read(told)]
            yield reader.finish(whole.get("ResponseMetadata", {}).get("RequestId"))
            return
        reply = await self._asked(connection, connection.stream(model, call.body), subject, call.deadline)
        try:
            async with aclosing(reply.__aiter__()) as events:
                async for event in events:
                    if read := reader.read(event):
                        yield read
        except connection.errors as error:
            if not reader.complete:
                raise connection.failure(error, subject, started=reader.started) from error
        finally:
            reply.close()
        yield reader.finish(reply.request_id)

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        """Some models do not stream, or not where tools are on offer, and say so when they are asked."""
        if not needs_whole_reply(error) or call.request.model in self._silent:
            return None
        self._silent.add(call.request.model)
        return call.body

    async def fetch_models(self) -> list[Listed]:
        subject = self._config.subject()
        connection = await self._connected()
        deadline = time.monotonic() + self._config.list_timeout
        # Either may be forbidden alone.
        models, profiles = await asyncio.gather(
            self._rows(connection, connection.models, subject, deadline),
            self._rows(connection, connection.profiles, subject, deadline),
        )
        if isinstance(models, ProviderError) and isinstance(profiles, ProviderError):
            raise models
        found = [] if isinstance(profiles, ProviderError) else profiles
        self._behind = {profile_id(row): model_behind(row) for row in found}
        return listed([] if isinstance(models, ProviderError) else models, found)

    async def warm_up(self) -> None:
        await self._connected()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _family(self, model: str) -> Family:
        """By the model behind it, for inference profiles that are named by an ARN."""
        return family_of(self._behind.get(model) or model)

    async def _connected(self) -> "Connection":
        """The connection; the first call imports the SDK.

        :raises ProviderError: if it is not installed.
        """
        if self._connection is not None:
            return self._connection
        async with self._connecting:
            if self._connection is None:
                # In a thread: the import takes 0.4 s, in which the loop has others to serve.
                self._connection = await asyncio.to_thread(self._make)
        return self._connection

    def _make(self) -> "Connection":
        try:
            sdk = import_module(_SDK)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _PACKAGES:
                raise
            raise ProviderError(
                f"{self.name} needs a package that is not installed: pip install 'tertulia[bedrock]'",
                detail=str(error),
            ) from error
        for key in (self._config.api_key, self._config.options.get("access_key")):
            check_key(self._config, key)
        connection: Connection = sdk.Connection(self._config)
        return connection

    async def _asked(
        self, connection: "Connection", asking: Awaitable[ResultT], subject: Subject, deadline: float
    ) -> ResultT:
        """What comes of a request.

        :raises ProviderError: if nothing does by the deadline.
        """
        limit = asyncio.timeout(deadline - time.monotonic())
        try:
            async with limit:
                return await asking
        except connection.errors as error:
            if limit.expired():
                raise failures.timed_out(subject, "") from error
            raise connection.failure(error, subject) from error

    async def _rows(
        self,
        connection: "Connection",
        asking: Callable[[], Awaitable[list[dict[str, Any]]]],
        subject: Subject,
        deadline: float,
    ) -> list[dict[str, Any]] | ProviderError:
        try:
            return await self._asked(connection, asking(), subject, deadline)
        except ProviderError as error:
            return error
