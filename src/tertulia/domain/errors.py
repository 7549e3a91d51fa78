"""Every way an operation can fail. ``api/errors.py`` alone says which status and body each becomes."""

from collections.abc import Sequence
from typing import Any


class TertuliaError(Exception):
    """The root. ``str(error)`` is a sentence for the user: what is wrong and what to change.

    ``fields`` are shown beside the sentence in the reply's body.
    """

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, Any] = fields


class InvalidArgument(TertuliaError):
    """A well-formed request that asks for something impossible."""


class Unprocessable(TertuliaError):
    """A body or parameter that does not have the shape the operation takes."""


class Unsupported(TertuliaError):
    """Something the API knows and this server does not do."""


class NotFound(TertuliaError):
    """An id that names nothing here."""

    def __init__(self, noun: str, id_: str) -> None:
        super().__init__(f"{noun} not found with id='{id_}'")
        self.noun = noun
        self.id = id_


class Gone(TertuliaError):
    """Something that was here and is kept no longer."""


class Conflict(TertuliaError):
    """The request is right but not now."""


class ConversationBusy(Conflict):
    """A conversation runs one message at a time."""

    def __init__(self, run_id: str) -> None:
        # Clients match "is currently being processed" and read run_id.
        super().__init__(
            f"CONFLICT: Cannot send a new message: Another request (run_id={run_id}) is currently being processed "
            "for this conversation. Please wait for it to complete.",
            run_id=run_id,
        )
        self.run_id = run_id


class QueueFull(Conflict):
    """As many messages wait for a conversation as may."""

    def __init__(self, limit: int, run_id: str) -> None:
        super().__init__(
            f"CONFLICT: Cannot send a new message: {limit} messages are already queued for this conversation, while "
            "another "
            f"request (run_id={run_id}) is currently being processed. Please wait for some to complete.",
            run_id=run_id,
        )


class ApprovalPending(Conflict):
    """The conversation waits for answers to tool calls before it takes another message."""

    def __init__(self, tool_call_ids: Sequence[str]) -> None:
        # Clients match "waiting for approval".
        super().__init__(
            "CONFLICT: Cannot send a new message: The agent is waiting for approval on a tool call. Please approve or "
            "deny the pending request before continuing.",
            tool_call_ids=list(tool_call_ids),
        )


class NothingPending(InvalidArgument):
    """An answer to tool calls that wait for none. ``request_id`` is what an answer named that names no calls."""

    def __init__(self, answered: Sequence[str], pending: Sequence[str], request_id: str | None = None) -> None:
        # Clients match both beginnings, and then ask for the pending request again.
        if pending:
            wrong = list(answered) or f"the request '{request_id}' made none"
            text = f"Invalid tool call IDs: {wrong}. The pending calls are {list(pending)}."
        else:
            text = "No tool call is currently awaiting approval: it was answered, or has expired."
        super().__init__(f"INVALID_ARGUMENT: {text}", pending_tool_call_ids=list(pending))


class BlockClash(Conflict):
    """A memory block changed between being read and being written."""

    def __init__(self, label: str | None, expected: int, found: int) -> None:
        super().__init__(
            f"CONFLICT: memory block '{label}' was changed by someone else (version {found}, the edit was made "
            f"against version {expected}). Read it again and repeat the edit.",
        )
        self.label = label


class BlockLimitExceeded(Unprocessable):
    """A memory block's value would be longer than its limit, in characters."""

    def __init__(self, label: str | None, length: int, limit: int) -> None:
        super().__init__(
            f"INVALID_ARGUMENT: memory block '{label}' would have {length} characters, over its limit of {limit} "
            f"by {length - limit}. Shorten the value or raise the limit.",
        )


class BlockReadOnly(InvalidArgument):
    """An agent tried to edit a read-only memory block."""

    def __init__(self, label: str | None) -> None:
        super().__init__(f"INVALID_ARGUMENT: memory block '{label}' is read-only.")


class ProviderNotConfigured(InvalidArgument):
    """A model of a provider that is neither configured nor, as far as this worker knows, stored."""


class NameTaken(Conflict):
    """Something of this name is there already, and there can be one alone."""

    def __init__(self, noun: str, name: str, hint: str = "Choose another name.") -> None:
        super().__init__(f"CONFLICT: there is a {noun} '{name}' already. {hint}")


class SecretUnreadable(InvalidArgument):
    """An encrypted value that the keys at hand do not open."""


class StoreUnavailable(TertuliaError):
    """The database cannot be reached or is shutting down; nothing was written."""


class StreamInterrupted(StoreUnavailable):
    """A run could not be read to its end. ``why`` is a sentence."""

    def __init__(self, run_id: str, why: str) -> None:
        super().__init__(
            f"{why} The run is not lost: it will be resumed and can be read again in a moment.",
            run_id=run_id,
        )
        self.run_id = run_id


class LeaseLost(TertuliaError):
    """Another worker took the run over; nothing of this one's was written."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"The run {run_id} was taken over by another worker.", run_id=run_id)


class ServerBusy(StoreUnavailable):
    """As many messages are being answered as this server may; nothing was written."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The server is already answering {limit} messages, its limit. Try again soon.")


class DataDirectoryHeld(TertuliaError):
    """Another process serves from this data directory."""


class CopyFailed(TertuliaError):
    """A database cannot be copied as it is, or did not arrive; no server opens the target."""


class ProviderError(TertuliaError):
    """A model provider did not do what was asked.

    ``error_type`` is the API's name for it, ``detail`` the provider's own words, ``retry_after`` seconds.
    """

    error_type = "llm_error"
    may_pass = False
    """Whether the same request may well succeed a moment later."""

    def __init__(self, message: str, *, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.detail = detail or message
        self.retry_after = retry_after


class ProviderAuthenticationError(ProviderError):
    """No key, a wrong key, or a key that may not do this."""

    error_type = "llm_authentication"


class ProviderPermissionError(ProviderAuthenticationError):
    """The key is right but not allowed to use this model."""


class ProviderRateLimited(ProviderError):
    """Too many requests or too many tokens in a while."""

    error_type = "llm_rate_limit"
    may_pass = True


class ProviderQuotaUsedUp(ProviderRateLimited):
    """A quota or credit that waiting does not bring back."""

    may_pass = False


class ProviderOverloaded(ProviderError):
    """The provider is there and cannot serve now."""

    may_pass = True


class ProviderFailed(ProviderError):
    """Something broke inside the provider."""

    may_pass = True


class ProviderTimeout(ProviderError):
    """No answer, or no further token, in time."""

    error_type = "llm_timeout"
    may_pass = True


class ProviderUnreachable(ProviderError):
    """Nothing answers at the provider's address."""

    may_pass = True


class ProviderConnectionLost(ProviderError):
    """The connection broke, before the reply or in the middle of it."""

    may_pass = True


class ProviderMalformedReply(ProviderError):
    """What came back is not the protocol."""


class ProviderEmptyReply(ProviderError):
    """A reply that is complete and says nothing."""

    may_pass = True

    def __init__(self, name: str, model: str) -> None:
        # Letta Code looks for "empty content in".
        super().__init__(
            f"{name} sent an empty reply.",
            detail=f"There was empty content in the reply of {model}: no text, no reasoning and no tool call.",
        )


class ProviderBadRequest(ProviderError):
    """The provider refused the request as it stands."""


class ProviderModelNotFound(ProviderBadRequest):
    """The provider does not know the model."""


class ProviderReplyTooLong(ProviderError):
    """The reply has no end, or no sensible one."""

    def __init__(self, name: str, chars: int, pieces: int) -> None:
        super().__init__(
            f"{name} sent a reply without an end: more than {chars:,} characters or {pieces:,} pieces. Check what "
            "it sends, or limit the length of its replies (max_tokens).",
        )


class ProviderContentFiltered(ProviderError):
    """The provider's filter stopped the request or the reply."""


class ContextTooLong(ProviderBadRequest):
    """The request does not fit the model's context window. Numbers are tokens, where known."""

    def __init__(
        self, message: str, *, detail: str = "", tokens: int | None = None, context_window: int | None = None
    ) -> None:
        super().__init__(message, detail=detail)
        self.tokens = tokens
        self.context_window = context_window


class SystemPromptTooLong(ContextTooLong):
    """What every request begins with leaves no room for a message."""

    def __init__(self, tokens: int, context_window: int, *, detail: str = "") -> None:
        super().__init__(
            f"The system prompt and the tools alone take about {tokens} tokens, and the context window has "
            f"{context_window}. Shorten the instructions or the memory blocks, detach tools, or raise the context "
            "window limit.",
            detail=detail,
            tokens=tokens,
            context_window=context_window,
        )
