"""The bodies of the operations that send messages or read a run's stream, and what the engine makes of them."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, Tag, model_validator

from tertulia.api.wire.common import MAX_IDS, MAX_INT, JsonObject, Listed, Name, Names, Prose, Text
from tertulia.api.wire.content import SentModel, TextOrContent, discriminate, parts_of
from tertulia.api.wire.messages import MessageType
from tertulia.domain import tools
from tertulia.domain.agents import BusyPolicy
from tertulia.domain.errors import InvalidArgument, Unprocessable
from tertulia.domain.messages import ApprovalPart, ImagePart, ToolReturnPart
from tertulia.domain.runs import RequestConfig
from tertulia.engine.requests import DEFAULT_MAX_STEPS, NewAnswer, NewMessage, SendRequest

MAX_MESSAGES: Final = 10_000
"""In one request. Whoever brings a history along sends thousands at most."""

MAX_LINES: Final = 10_000


class MessageCreateParam(SentModel):
    type: Literal["message"] | None = "message"
    role: Literal["user", "system", "assistant"]
    content: TextOrContent
    name: Name | None = None
    otid: Name | None = None
    sender_id: Name | None = None
    batch_item_id: Name | None = None
    group_id: Name | None = None


class ApprovalReturnParam(SentModel):
    type: Literal["approval"] = "approval"
    approve: bool
    tool_call_id: Prose
    reason: Prose | None = None


class ToolReturnParam(SentModel):
    type: Literal["tool"] = "tool"
    tool_call_id: Prose
    tool_return: TextOrContent
    status: Literal["success", "error"]
    stdout: Annotated[Listed[str], Field(max_length=MAX_LINES)] | None = None
    stderr: Annotated[Listed[str], Field(max_length=MAX_LINES)] | None = None


Approval: TypeAlias = Annotated[
    Annotated[ApprovalReturnParam, Tag("~approval")] | Annotated[ToolReturnParam, Tag("~tool")],
    discriminate({"approval": "~approval", "tool": "~tool"}, {"approve": "~approval", "tool_return": "~tool"}),
]


class ApprovalCreateParam(SentModel):
    """Answers to an approval request: call by call in ``approvals``, or with ``approve`` to all of its calls at once.

    Clients that know both forms send both; then ``approvals`` says it.
    """

    type: Literal["approval"] = "approval"
    approvals: Annotated[Listed[Approval], Field(max_length=MAX_IDS)] | None = None
    approve: bool | None = None
    approval_request_id: Name | None = None
    reason: Prose | None = None
    otid: Name | None = None
    group_id: Name | None = None

    @model_validator(mode="after")
    def _answers_something(self) -> Self:
        if not self.approvals and self.approve is None:
            message = "must have 'approvals' or 'approve'"
            raise ValueError(message)
        return self


class ToolReturnCreate(SentModel):
    """What tools on the client's side returned."""

    type: Literal["tool_return"] = "tool_return"
    tool_returns: Annotated[Listed[ToolReturnParam], Field(min_length=1, max_length=MAX_IDS)]
    otid: Name | None = None
    group_id: Name | None = None


SentMessage: TypeAlias = Annotated[
    Annotated[MessageCreateParam, Tag("~message")]
    | Annotated[ApprovalCreateParam, Tag("~approval")]
    | Annotated[ToolReturnCreate, Tag("~tool_return")],
    discriminate(
        {"message": "~message", "approval": "~approval", "tool_return": "~tool_return"},
        {"role": "~message", "content": "~message", "tool_returns": "~tool_return", "approvals": "~approval",
         "approve": "~approval"},
    ),
]  # fmt: skip


class ClientTool(SentModel):
    name: Name
    description: Prose | None = None
    parameters: JsonObject | None = None


class ClientSkill(SentModel):
    name: Name
    description: Prose
    location: Prose


class SendBody(BaseModel):
    """Messages for an agent. Exactly one of ``messages`` and ``input`` is given.

    Clients send fields of releases this server does not know, so those are let through (and logged).
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    messages: Annotated[Listed[SentMessage], Field(max_length=MAX_MESSAGES)] | None = None
    input: TextOrContent | None = None
    streaming: bool | None = None
    stream_tokens: bool = False
    background: bool = False
    include_pings: bool = False
    max_steps: Annotated[int, Field(ge=1, le=MAX_INT)] = DEFAULT_MAX_STEPS
    include_return_message_types: Annotated[Listed[MessageType], Field(max_length=MAX_IDS)] | None = None
    include_compaction_messages: bool = False
    use_assistant_message: bool = True
    assistant_message_tool_name: Name = "send_message"
    assistant_message_tool_kwarg: Name = "message"
    override_model: Name | None = None
    override_system: Text | None = None
    client_tools: Annotated[Listed[ClientTool], Field(max_length=MAX_IDS)] | None = None
    client_skills: Annotated[Listed[ClientSkill], Field(max_length=MAX_IDS)] | None = None
    enable_thinking: str = ""
    return_logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    return_token_ids: bool = False
    busy_policy: BusyPolicy | None = Field(
        None,
        description=(
            "Tertulia's addition: what to do while the conversation is answering another message. Defaults to the "
            "agent's."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _is_not_too_much(cls, body: Any) -> Any:
        """Looked at before the parts are: each takes as long as a message."""
        sent: object = cast("dict[str, Any]", body).get("messages") if isinstance(body, dict) else None
        messages = cast("list[object]", sent) if isinstance(sent, list) else []
        if len(messages) > MAX_MESSAGES:
            message = f"One request must have at most {MAX_MESSAGES} messages; send them in several"
        elif sum(map(_parts_in, messages)) > MAX_MESSAGES:
            message = f"The messages of one request must have at most {MAX_MESSAGES} content parts in total"
        else:
            return cast("Any", body)
        raise ValueError(message)

    @model_validator(mode="after")
    def _says_something_once(self) -> Self:
        if self.messages is not None and self.input is not None:
            message = "Send either 'messages' or 'input', not both"
        elif self.messages is None and self.input is None:
            message = "Send 'messages' or 'input'; neither was sent"
        elif self.messages == []:
            message = "Messages must not be empty"
        elif self.input == []:
            message = "Input must not be empty"
        else:
            return self
        raise ValueError(message)


def _parts_in(message: object) -> int:
    content: object = cast("dict[str, Any]", message).get("content") if isinstance(message, dict) else None
    return len(cast("list[object]", content)) if isinstance(content, list) else 1


class ConversationSendBody(SendBody):
    agent_id: Name | None = Field(None, description="The agent whose default conversation `default` is.")


class AsyncSendBody(SendBody):
    """The run goes on in the background whatever else is asked."""

    callback_url: Prose | None = Field(None, description="Receives a signed notification when the run has ended.")


class ResumeBody(SentModel):
    """Which run's stream to resume, and after which frame.

    ``batch_size`` and ``poll_interval`` tune a server that polls; here frames are pushed as they come, so neither
    has anything to change.
    """

    run_id: Name | None = None
    otid: Name | None = None
    agent_id: Name | None = None
    starting_after: Annotated[int, Field(ge=0, le=MAX_INT)] = 0
    include_pings: bool | None = None
    batch_size: int | None = None
    poll_interval: float | None = None


class CancelBody(SentModel):
    run_ids: Names | None = None


class ResetBody(SentModel):
    add_default_initial_messages: bool = False


def send_request(
    conversation_id: str,
    body: SendBody,
    *,
    streaming: bool,
    busy: BusyPolicy | None = None,
    traceparent: str | None = None,
) -> SendRequest:
    """What the engine is asked to do. ``busy`` is what a header said; the body's word goes before it.

    :raises InvalidArgument: for what cannot be had from any model of this release.
    :raises Unprocessable: if the messages make no sense together.
    """
    _refuse_impossible(body, streaming=streaming)
    _check_otids(body)
    sent = body.messages or ()
    return SendRequest(
        conversation_id=conversation_id,
        messages=_new_messages(body),
        answers=tuple(new_answer(answer) for answer in sent if not isinstance(answer, MessageCreateParam)),
        client_tools=_client_tools(body.client_tools or ()),
        client_skills=tuple(tools.ClientSkill(**skill.model_dump()) for skill in body.client_skills or ()),
        busy=body.busy_policy or busy,
        # By contract the field is for streams; a blocking request has nobody to come back for its reply.
        background=body.background and streaming,
        max_steps=body.max_steps,
        logprobs=(body.top_logprobs or 0) if body.return_logprobs else None,
        config=RequestConfig(
            use_assistant_message=body.use_assistant_message,
            assistant_message_tool_name=body.assistant_message_tool_name,
            assistant_message_tool_kwarg=body.assistant_message_tool_kwarg,
            include_return_message_types=None
            if body.include_return_message_types is None
            else tuple(body.include_return_message_types),
            include_compaction_messages=body.include_compaction_messages,
            stream_tokens=body.stream_tokens and streaming,
        ),
        override_model=body.override_model,
        override_system=body.override_system,
        traceparent=traceparent,
    )


def _refuse_impossible(body: SendBody, *, streaming: bool) -> None:
    if body.enable_thinking:
        raise InvalidArgument(
            "INVALID_ARGUMENT: 'enable_thinking' cannot be switched for one message here: whether and how much a model "
            "reasons is set in its model_settings (reasoning, thinking or thinking_config), of the conversation or of "
            "the agent. Send the message without it.",
        )
    if body.return_token_ids:
        raise InvalidArgument(
            "INVALID_ARGUMENT: 'return_token_ids' needs a provider that returns token ids, and this release "
            "supports none. Send the message without it.",
        )
    if body.top_logprobs is not None and not body.return_logprobs:
        raise InvalidArgument("INVALID_ARGUMENT: 'top_logprobs' needs 'return_logprobs: true'.")
    if body.return_logprobs and streaming:
        raise InvalidArgument(
            "INVALID_ARGUMENT: 'return_logprobs' needs 'streaming: false': log probabilities are returned "
            "only in whole replies.",
        )


def _check_otids(body: SendBody) -> None:
    otids = [sent.otid for sent in body.messages or () if sent.otid is not None]
    if len(set(otids)) < len(otids):
        raise Unprocessable("Every message of a request needs its own otid; two have the same one.")


def _new_messages(body: SendBody) -> tuple[NewMessage, ...]:
    if body.input is not None:
        return (_check(NewMessage(role="user", content=parts_of(body.input))),)
    return tuple(new_message(sent) for sent in body.messages or () if isinstance(sent, MessageCreateParam))


def new_answer(sent: ApprovalCreateParam | ToolReturnCreate) -> NewAnswer:
    """Answers to tool calls that wait for them."""
    if isinstance(sent, ToolReturnCreate):
        answers: Sequence[ApprovalReturnParam | ToolReturnParam] = sent.tool_returns
    else:
        answers = sent.approvals or ()
    ids = [answer.tool_call_id for answer in answers]
    if len(set(ids)) < len(ids):
        raise Unprocessable("A tool call can be answered only once in a request; two answers name the same call.")
    decision = None
    if isinstance(sent, ApprovalCreateParam) and not answers and sent.approve is not None:
        decision = (sent.approve, sent.reason)
    return NewAnswer(
        decisions=tuple(
            ApprovalPart(answer.tool_call_id, answer.approve, answer.reason)
            for answer in answers
            if isinstance(answer, ApprovalReturnParam)
        ),
        returns=tuple(_tool_return(answer) for answer in answers if isinstance(answer, ToolReturnParam)),
        decision=decision,
        request_id=sent.approval_request_id if isinstance(sent, ApprovalCreateParam) else None,
        otid=sent.otid,
        group_id=sent.group_id,
    )


def _tool_return(sent: ToolReturnParam) -> ToolReturnPart:
    return ToolReturnPart(
        tool_call_id=sent.tool_call_id,
        name="",  # the engine knows what the call was of
        content=sent.tool_return if isinstance(sent.tool_return, str) else parts_of(sent.tool_return),
        status=sent.status,
        stdout=tuple(sent.stdout or ()),
        stderr=tuple(sent.stderr or ()),
    )


def _client_tools(sent: Sequence[ClientTool]) -> tuple[tools.ToolSpec, ...]:
    names = [tool.name for tool in sent]
    if len(set(names)) < len(names):
        raise Unprocessable("Every client tool needs its own name; two have the same one.")
    return tuple(
        tools.ToolSpec(
            id="",
            name=tool.name,
            description=tool.description or "",
            parameters=tool.parameters or {"type": "object", "properties": {}},
            tool_type="custom",
        )
        for tool in sent
    )


def new_message(sent: MessageCreateParam) -> NewMessage:
    return _check(
        NewMessage(
            role=sent.role,
            content=parts_of(sent.content),
            otid=sent.otid,
            name=sent.name,
            sender_id=sent.sender_id,
            group_id=sent.group_id,
            batch_item_id=sent.batch_item_id,
        )
    )


def _check(message: NewMessage) -> NewMessage:
    if not message.content:
        raise Unprocessable("A message's content must not be empty.")
    if message.role != "user" and any(isinstance(part, ImagePart) for part in message.content):
        raise Unprocessable(f"Images can only be sent with role 'user', not '{message.role}'.")
    return message
