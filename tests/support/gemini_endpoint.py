"""A strict, scriptable endpoint that speaks Gemini's streamGenerateContent, for tests. It holds no model.

What is signed here must come back on the part it was issued on, and nothing else may be signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.gemini_requests import find_violations
from tests.support.scripted_endpoint import Delay, Drop, Pause, Raw, Received, Refuse, ScriptedEndpoint, Whole
from tests.support.wire_json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("gemini-3-pro-preview", "gemini-2.5-flash", "gemini-2.5-pro")

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next parts of the reply."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The last chunk, which often brings parts as well; `about` are more fields of the candidate."""

    reason: str = "STOP"
    usage: dict[str, Any] | None = None
    parts: tuple[Part, ...] = ()
    about: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Blocked:
    """The prompt was stopped by a filter; no candidate comes."""

    reason: str = "PROHIBITED_CONTENT"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the middle of the stream."""

    code: int
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class GoogleError(Refuse):
    """An HTTP error. `type` is the status by name, `details` are the error's."""

    details: tuple[dict[str, Any], ...] = ()


Act: TypeAlias = Chunk | Finish | Blocked | Failure | Pause | Delay | Raw | Drop | Refuse | Whole
Reply: TypeAlias = list[Act]


def usage(prompt: int = 20, answer: int = 3, *, thoughts: int = 2, cached: int = 8) -> dict[str, Any]:
    """A usageMetadata object; counts are tokens, `prompt` has the cached ones in it, `answer` not the thoughts."""
    counts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "totalTokenCount": prompt + answer + thoughts,
        "cachedContentTokenCount": cached,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "thoughtsTokenCount": thoughts,
    }
    return {key: value for key, value in counts.items() if value}


def sign(text: str) -> str:
    """A signature: opaque, long, and of all characters of base64."""
    return f"Sig/{sha256(text.encode()).hexdigest()}+/=="


def said(*pieces: str) -> Reply:
    """Text, one chunk a piece."""
    return [Chunk(({"text": piece},)) for piece in pieces]


def thought(*pieces: str) -> Reply:
    """A summary of thoughts, one chunk a piece."""
    return [Chunk(({"text": piece, "thought": True},)) for piece in pieces]


def called(name: str, arguments: dict[str, Any], *, id_: str | None = None, signature: str | None = None) -> Part:
    call: dict[str, Any] = {"name": name, "args": arguments}
    if id_ is not None:
        call["id"] = id_
    return {"functionCall": call, "thoughtSignature": signature} if signature else {"functionCall": call}


def reply(*acts: Reply, usage: dict[str, Any] | None = None) -> Reply:
    return [*(act for group in acts for act in group), Finish(usage=usage)]


def retry_info(seconds: float) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:g}s"}


def quota_failure(*quota_ids: str) -> dict[str, Any]:
    violations = [
        {"quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": quota_id}
        for quota_id in quota_ids
    ]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


def error_info(reason: str) -> dict[str, Any]:
    domain = "googleapis.com"
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain, "metadata": {}}


class GeminiRequest(Received):
    """One request as it came."""

    @property
    def contents(self) -> list[dict[str, Any]]:
        return self.body["contents"]

    @property
    def parts(self) -> list[Part]:
        """All parts of the history."""
        return [part for content in self.contents for part in content["parts"]]

    @property
    def signed(self) -> list[Part]:
        return [part for part in self.parts if "thoughtSignature" in part]


class GeminiEndpoint(ScriptedEndpoint[GeminiRequest]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test.

    With `vertex` it answers at Vertex AI's paths. Signatures stay issued until `reset`.
    """

    post_path = ":streamGenerateContent?alt=sse"
    request_id_header = "x-gemini-service-tier"
    stream_type = "text/event-stream"
    default_models = MODELS

    def __init__(self, *, vertex: bool = False) -> None:
        super().__init__()
        self.vertex = vertex
        self.issued: dict[str, Part] = {}

    def reset(self) -> None:
        super().reset()
        self.issued = {}

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> GeminiRequest:
        return GeminiRequest(path, headers, body)

    def find_violations(self, request: GeminiRequest) -> list[str]:
        return find_violations(request.path, request.headers, request.body, self.issued, vertex=self.vertex)

    def encoder(self, request: GeminiRequest) -> _Chunks:
        return _Chunks(request.path.rpartition("/")[2].partition(":")[0], self.issued)

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        status = refusal.type if refusal.type.isupper() else "INVALID_ARGUMENT"
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "status": status}
        if isinstance(refusal, GoogleError) and refusal.details:
            error["details"] = list(refusal.details)
        return {"error": error}

    def model_list(self) -> dict[str, Any]:
        if self.vertex:
            rows = [{"name": f"publishers/google/models/{name}", "versionId": "default"} for name in self.models]
            return {"publisherModels": [*rows, {"name": "publishers/google/models/bert-base"}]}
        rows = [
            {
                "name": f"models/{name}",
                "version": "001",
                "displayName": name.replace("-", " ").title(),
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
                "thinking": True,
            }
            for name in self.models
        ]
        embedding = {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]}
        return {"models": [*rows, embedding]}

    def ok(self) -> Reply:
        return reply(said("ok"))


class _Chunks:
    """Encodes acts as the service's chunks, and remembers what was signed."""

    def __init__(self, model: str, issued: dict[str, Part]) -> None:
        self._model = model
        self._issued = issued

    def encode(self, act: Act) -> Iterator[bytes]:
        match act:
            case Raw(data):
                yield data
            case Chunk(parts):
                yield self._chunk(parts, {})
            case Finish(reason, counts, parts, about):
                yield self._chunk(parts, {"finishReason": reason, **about}, counts or usage())
            case Blocked(reason):
                feedback: dict[str, Any] = {"blockReason": reason, "safetyRatings": []}
                yield _event(promptFeedback=feedback, usageMetadata={"promptTokenCount": 4}, modelVersion=self._model)
            case Failure(code, status, message):
                yield _event(error={"code": code, "message": message, "status": status})
            case _:
                pass

    def _chunk(self, parts: tuple[Part, ...], fields: dict[str, Any], counts: dict[str, Any] | None = None) -> bytes:
        for part in parts:
            if "thoughtSignature" in part:
                self._issued[part["thoughtSignature"]] = part
        candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **fields}
        if not parts:
            del candidate["content"]
        return _event(
            candidates=[candidate],
            usageMetadata=counts or {"promptTokenCount": 20, "totalTokenCount": 20},
            modelVersion=self._model,
            responseId="resp_1",
        )


def _event(**fields: Any) -> bytes:
    return f"data: {as_json(fields)}\r\n\r\n".encode()
