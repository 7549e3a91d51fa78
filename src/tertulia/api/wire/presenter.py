"""A run's events as the messages one reader is shown, whether it reads pieces or whole messages.

It knows nothing of frames: a stream and a blocking reply present the same events.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tertulia.api.wire.messages import (
    ApprovalRequestMessage,
    AssistantMessage,
    EventMessage,
    HiddenReasoningMessage,
    ReasoningMessage,
    SummaryMessage,
    ToolCall,
    ToolCallMessage,
    WireMessage,
    is_spoken,
    wire_messages,
)
from tertulia.domain.events import (
    CompactionBegun,
    Delta,
    HiddenReasoning,
    MessageAdded,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from tertulia.domain.ids import part_otid
from tertulia.domain.json_stream import TextUnder
from tertulia.domain.runs import RequestConfig

_NOTHING: Sequence[WireMessage] = ()


class Presenter:
    """Presents one run to one reader. Events are given to it in order, from the run's first.

    ``config`` is what the run's request asked to be shown. With ``listed`` a tool call's ``tool_calls`` is a list. To a
    reader of ``whole`` messages the calls of a reply that wait for an answer are one message, so they are held until
    the log goes on to something else; ``rest`` gives what is held at its end.
    """

    def __init__(self, run_id: str, config: RequestConfig, *, listed: bool, whole: bool) -> None:
        self._run_id = run_id
        self._config = config
        self._listed = listed
        self._whole = whole
        self._asked: list[ToolCallDelta] = []
        self._asked_otids: dict[str, str] = {}
        self._spoken: dict[str, TextUnder] = {}
        self._second = 0
        self._date = ""

    def present(self, event: Delta | MessageAdded | CompactionBegun) -> Sequence[WireMessage]:
        """The messages the event is to this reader; often one, sometimes none."""
        if self._whole and isinstance(event, ToolCallDelta) and event.awaits:
            self._asked.append(event)
            return _NOTHING
        return self._filter([*self._held(), *self._messages(event)] if self._asked else self._messages(event))

    def rest(self, discarded: Sequence[str] = ()) -> Sequence[WireMessage]:
        """What is held, now that no message follows; but nothing of the messages that are ``discarded``."""
        self._asked = [event for event in self._asked if event.message_id not in discarded]
        return self._filter(self._held()) if self._asked else _NOTHING

    def _filter(self, messages: Sequence[WireMessage]) -> Sequence[WireMessage]:
        types = self._config.include_return_message_types
        return messages if types is None else [message for message in messages if message.message_type in types]

    def _held(self) -> Sequence[WireMessage]:
        held, self._asked = self._asked, []
        calls = [ToolCall(event.name, event.arguments, event.tool_call_id) for event in held]
        listed = self._listed or len(calls) > 1
        return [
            ApprovalRequestMessage(
                **self._common(held[0]), tool_call=calls[0], tool_calls=calls if listed else calls[0]
            )
        ]

    def _messages(self, event: Delta | MessageAdded | CompactionBegun) -> Sequence[WireMessage]:
        match event:
            case TextDelta():
                return [AssistantMessage(**self._common(event), content=event.text)]
            case ReasoningDelta():
                return [ReasoningMessage(**self._common(event), reasoning=event.text, signature=event.signature)]
            case ToolCallDelta():
                return self._tool_call(event)
            case MessageAdded():
                return self._on_added(event)
            case CompactionBegun():
                return [self._compaction(event)] if self._config.include_compaction_messages else _NOTHING
            case HiddenReasoning():
                state = "omitted" if event.data is None else "redacted"
                return [HiddenReasoningMessage(**self._common(event), state=state, hidden_reasoning=event.data)]

    def _common(self, event: Delta) -> dict[str, Any]:
        return {
            "id": event.message_id,
            "date": self.date(event.at),
            "otid": event.otid,
            "step_id": event.step_id,
            "run_id": self._run_id,
        }

    def date(self, at: float) -> str:
        """An instant in seconds since the epoch as a message's date. The pieces of a message share theirs."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._date = datetime.fromtimestamp(second, UTC).isoformat()
        return self._date

    def _tool_call(self, event: ToolCallDelta) -> Sequence[WireMessage]:
        if event.awaits:
            return [self._asked_piece(event)]
        if is_spoken(event.name, self._config):
            said = self._spoken.setdefault(event.otid, TextUnder(self._config.assistant_message_tool_kwarg))
            text = said.feed(event.arguments)
            return [AssistantMessage(**self._common(event), content=text)] if text else _NOTHING
        call = ToolCall(event.name, event.arguments, event.tool_call_id)
        shown = [call] if self._listed else call
        return [ToolCallMessage(**self._common(event), tool_call=call, tool_calls=shown)]

    def _asked_piece(self, event: ToolCallDelta) -> WireMessage:
        """A piece of a call that waits for an answer: of one message with the other such calls of the reply."""
        otid = self._asked_otids.setdefault(event.message_id, event.otid)
        call = ToolCall(event.name, event.arguments, event.tool_call_id)
        shared: dict[str, Any] = self._common(event) | {"otid": otid}
        return ApprovalRequestMessage(**shared, tool_call=call, tool_calls=call)

    def _compaction(self, event: CompactionBegun) -> WireMessage:
        """It comes before the summary of the same id, which takes a while to be made."""
        return EventMessage(
            id=event.message_id,
            date=self.date(event.at),
            otid=part_otid(event.message_id, 1),
            run_id=self._run_id,
            event_data={
                "trigger": event.trigger,
                "mode": event.mode,
                "context_window": event.context_window,
                "context_tokens": event.tokens,
                "messages_count": event.messages,
            },
        )

    def _on_added(self, event: MessageAdded) -> Sequence[WireMessage]:
        messages = wire_messages(event.message, self._config)
        if self._config.include_compaction_messages:
            return messages
        return [message for message in messages if not isinstance(message, SummaryMessage)]
