"""What a client sends: messages, answers to pending tool calls, and how it wants to be answered."""

from dataclasses import dataclass, field

import msgspec

from tertulia.domain.agents import BusyPolicy
from tertulia.domain.messages import ApprovalPart, Part, Role, ToolReturnPart
from tertulia.domain.runs import RequestConfig
from tertulia.domain.tools import ClientSkill, ToolSpec

DEFAULT_MAX_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message that comes in."""

    role: Role
    content: tuple[Part, ...]
    otid: str | None = None
    name: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    batch_item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnswer:
    """Answers to pending tool calls: decisions, and returns of tools that the client ran.

    ``decision`` (approve or not, and why) is for all calls of the request ``request_id`` names, the id of the message
    that made them; of the one that is pending where a client names none.
    """

    decisions: tuple[ApprovalPart, ...] = ()
    returns: tuple[ToolReturnPart, ...] = ()
    decision: tuple[bool, str | None] | None = None
    request_id: str | None = None
    otid: str | None = None
    group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """Messages for a conversation (its stored id) and how they are to be answered.

    ``busy`` says what to do when the conversation is answering another message; None is the agent's way, or reject.
    ``client_tools`` run on the client's side; ``client_skills`` are named at the end of this run's system prompt and
    kept nowhere. ``callback_url`` is told when the run has ended. The overrides hold for this run alone and go before
    the conversation's and the agent's own.
    ``traceparent`` is the client's own trace, by the W3C's standard, for the spans of this run to be part of.
    ``fingerprint`` is that of the request of a client whose library sends again what failed, and ``retried`` says that
    it did so.
    ``logprobs`` asks for the log probabilities of the last reply with so many alternatives for each token.
    """

    conversation_id: str
    messages: tuple[NewMessage, ...] = ()
    answers: tuple[NewAnswer, ...] = ()
    client_tools: tuple[ToolSpec, ...] = ()
    client_skills: tuple[ClientSkill, ...] = ()
    busy: BusyPolicy | None = None
    background: bool = False
    callback_url: str | None = None
    max_steps: int = DEFAULT_MAX_STEPS
    logprobs: int | None = None
    config: RequestConfig = field(default_factory=RequestConfig)
    override_model: str | None = None
    override_system: str | None = None
    traceparent: str | None = None
    fingerprint: str | None = None
    retried: bool = False


def encode_request(request: SendRequest) -> bytes:
    """The request as bytes, for a run that waits its turn and may have to wait out a restart."""
    return msgspec.json.encode(request)


def decode_request(data: bytes) -> SendRequest:
    return _requests.decode(data)


_requests = msgspec.json.Decoder(SendRequest)
