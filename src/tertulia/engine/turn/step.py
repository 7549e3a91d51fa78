"""One step being taken: the request, the reply while it arrives, and the record of both."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

import msgspec
import structlog

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import ProviderError
from tertulia.domain.ids import new_step_id
from tertulia.domain.images import REFUSED
from tertulia.domain.messages import Base64Image, Message
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.domain.runs import FailedTry, Run, Step, StepStatus, StepTrace, StopReason, Usage
from tertulia.domain.tools import ToolSpec
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.outcome import Ending
from tertulia.engine.turn.reply import Reply
from tertulia.ports.provider import MemoryView, ModelRequest, Retrying
from tertulia.ports.store import Transaction

_log = structlog.get_logger(__name__)


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request without its history: what the steps of a conversation share until memory or settings change."""

    handle: str
    system: str
    instructions: str
    tools: tuple[ToolSpec, ...]
    memory: tuple[MemoryView, ...]
    settings: ModelSettings | None = None
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    cache_key: str | None = None
    context_window: int | None = None
    logprobs: int | None = None

    @classmethod
    def of(cls, card: ModelCard, request: ModelRequest) -> Self:
        return cls(handle=card.handle, **{name: getattr(request, name) for name in _SHARED})

    def request(self, model: str, messages: list[Message], images: Mapping[str, Base64Image | str]) -> ModelRequest:
        shared = {name: getattr(self, name) for name in _SHARED}
        return ModelRequest(model=model, messages=messages, images=images, **shared)


_SHARED: Final = tuple(name for name in Frame.__struct_fields__ if name != "handle")
"""What a request and its frame both have, under the same names."""


class StepRecord:
    """A step of a turn from its start; ``write`` stores it with its trace.

    ``failed_tries`` are those before this one, and grow with what fails before the reply begins.
    """

    def __init__(self, turn: Turn, request: ModelRequest, failed_tries: Sequence[FailedTry] = ()) -> None:
        self.request = request
        self.failed_tries = list(failed_tries)
        self.id = new_step_id()
        self.created_at = utc_now()
        self.reply = Reply(
            self.id, turn.choice.provider.provider_type, self.created_at, turn.history.call_ids, turn.awaits
        )
        self._turn, self._choice = turn, turn.choice
        self._head, self._start, self._pins = turn.history.head, turn.history.start, turn.history.pins
        self._unseen = turn.history.unseen.get(turn.choice.card.handle, frozenset[str]())
        self._start_ns = time.time_ns()
        self._begun_ns = time.monotonic_ns()
        self.llm_ns: int | None = None

    def on_retry(self, retrying: Retrying) -> None:
        """The provider failed and is asked again."""
        failed = failed_try(self._choice.card, retrying.error, retrying.delay)
        self.failed_tries.append(failed)
        _log.warning(
            "model_retried",
            run_id=self._turn.run.id,
            step_id=self.id,
            attempt=retrying.attempt,
            **msgspec.to_builtins(failed),
        )

    @property
    def run(self) -> Run:
        return self._turn.run

    @property
    def usage(self) -> Usage:
        finished = self.reply.finished
        return (finished and finished.usage) or Usage()

    def message(self, *, partial: bool) -> Message | None:
        """The reply as a message of the history; None if there is nothing in it."""
        content = self.reply.partial_content() if partial else self.reply.content()
        if not content:
            return None
        turn = self._turn
        return Message(
            id=self.reply.message_id,
            agent_id=turn.agent.id,
            conversation_id=turn.conversation.id,
            role="assistant",
            content=content,
            created_at=self.reply.created_at,
            run_id=turn.run.id,
            step_id=self.id,
            model=self._choice.card.handle,
            partial=partial,
        )

    def step(
        self, status: StepStatus, stop_reason: StopReason | None, *, error: Ending | None = None, tools_ns: int = 0
    ) -> Step:
        turn, card, finished = self._turn, self._choice.card, self.reply.finished
        failed = error.failed if error else None
        return Step(
            id=self.id,
            run_id=turn.run.id,
            agent_id=turn.agent.id,
            conversation_id=turn.conversation.id,
            status=status,
            created_at=self.created_at,
            model=card.name,
            model_handle=card.handle,
            model_endpoint=card.endpoint,
            provider_name=card.provider_name,
            provider_category=card.provider_category,
            context_window_limit=self._choice.context_window,
            usage=self.usage,
            stop_reason=stop_reason,
            error_type=failed.error_type if failed else None,
            error_data={"message": failed.message, "detail": failed.detail} if failed else None,
            tags=turn.agent.tags,
            request_id=finished.request_id if finished else None,
            step_start_ns=self._start_ns,
            step_ns=time.monotonic_ns() - self._begun_ns,
            llm_request_start_ns=self._start_ns,
            llm_request_ns=self.llm_ns,
            tool_execution_ns=tools_ns or None,
            failed_tries=tuple(self.failed_tries),
        )

    def write(self, tx: Transaction, step: Step) -> None:
        """Store the step and what is needed to show its request and reply as they were."""
        finished = self.reply.finished
        failed = {"error": {"type": step.error_type, **(step.error_data or {})}} if step.error_type else {}
        data = msgspec.json.encode(Frame.of(self._choice.card, self.request))
        digest = hashlib.sha256(data).hexdigest()
        tx.steps.put_frame(digest, data)
        tx.steps.insert(
            step,
            StepTrace(
                step_id=self.id,
                conversation_id=self._turn.conversation.id,
                frame=digest,
                context_from=self._start,
                pins=self._pins,
                head=self._head,
                reply=finished.reply if finished else failed,
                created_at=self.created_at,
                missing_images={url: found for url, found in self.request.images.items() if isinstance(found, str)}
                | dict.fromkeys(self._unseen, REFUSED),
            ),
        )


def failed_try(card: ModelCard, error: ProviderError, delay: float | None = None) -> FailedTry:
    """What is kept of a call that is made again, in ``delay`` seconds or of the next model."""
    return FailedTry(
        model=card.handle, error_type=error.error_type, message=error.message, detail=error.detail, delay=delay
    )
