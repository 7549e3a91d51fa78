"""One call of a model, timed, and told to the server's telemetry when it is over."""

import time
from types import TracebackType
from typing import Self

from tertulia.domain.errors import ProviderError
from tertulia.ports.provider import Finished, ModelRequest, Provider, Retrying
from tertulia.ports.telemetry import CANCELLED, ModelCalled, ModelRetried, Purpose, Telemetry


class ModelCall:
    """A call from its beginning to its end, as a context. Whoever reads the reply says what comes of it.

    ``silent`` until the first piece has come.
    """

    def __init__(
        self, telemetry: Telemetry, provider: Provider, request: ModelRequest, *, run_id: str | None, purpose: Purpose
    ) -> None:
        self.finished: Finished | None = None
        self.silent = True
        self._telemetry = telemetry
        self._provider = provider
        self._request = request
        self._run_id = run_id
        self._purpose: Purpose = purpose
        self._started_ns = time.time_ns()
        self._begun_ns = time.monotonic_ns()
        self._first_token_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def speaks(self) -> None:
        """The first piece is there."""
        self.silent = False
        self._first_token_ns = time.monotonic_ns() - self._begun_ns

    def retried(self, retrying: Retrying) -> None:
        self._telemetry(ModelRetried(self._provider.name, retrying.error.error_type))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        provider, request, finished = self._provider, self._request, self.finished
        said = finished.reply.get("model") if finished else None
        self._telemetry(
            ModelCalled(
                run_id=self._run_id,
                purpose=self._purpose,
                provider=provider.name,
                provider_type=provider.provider_type,
                model=request.model,
                settings=request.settings,
                started_ns=self._started_ns,
                duration_ns=time.monotonic_ns() - self._begun_ns,
                first_token_ns=self._first_token_ns,
                usage=finished and finished.usage,
                finish_reason=finished and finished.reason,
                request_id=finished and finished.request_id,
                response_model=said if isinstance(said, str) else None,
                error_type=None if error is None else _error_type(error),
            )
        )


def _error_type(error: BaseException) -> str:
    if isinstance(error, ProviderError):
        return error.error_type
    return type(error).__name__ if isinstance(error, Exception) else CANCELLED
