"""Writes `docs/compatibility.md` from the requirements and the operations: `python -m tests.conformance.make_docs`."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.operations import SUPPORTED
from tests.conformance.requirements import REQUIREMENTS, Requirement
from tests.conformance.schema import operations

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

_INTRODUCTION = """\
# Compatibility

Tertulia speaks the Letta V1 REST API as the Python package `letta-client` 1.12.1 calls it. This page says what holds:
each line of the tables below has a test of the same id in `tests/conformance`, in which the unmodified SDK drives a
real server process. Every reply these tests get is checked against the SDK's schemas as well: a field that is unknown,
absent or of another type fails the test, whatever the test is about, and so does a stream whose frames are out of
order.

This page is written by `python -m tests.conformance.make_docs`; edit `tests/conformance/requirements.py` instead.

## What to know as a user of the SDK

- Iterate over messages with `order="asc"`. In message lists `before` means older and `after` newer than the named
  message, whatever the order, because clients rely on both; the SDK's automatic iteration continues with `after`,
  which with `order="desc"` would turn back. To read newest first, page with `before` yourself. Every other list
  continues in its sort order, as the SDK expects.
- The SDK's `conversations.messages.create` always returns a stream object. For `streaming=False` read the reply through
  `client.conversations.messages.with_raw_response.create(…).http_response.read()`, or use `agents.messages.create`.
- A timestamp is RFC 3339 with microseconds and `Z`; a message's `date` is `2026-11-21T15:12:35+00:00`.
- An error is `{"detail": "<what is wrong and what to change>"}` with structured fields beside it; a failing model is
  `{"error": {"type", "message", "detail"}}`.

## What we add to the API

A client that does not know of these sees no difference.

- **A message to a busy conversation**, one that is still answering another message. It is refused with 409 unless the
  request or the agent says otherwise: with the header `X-Tertulia-Busy` or the field `busy_policy` of the body (in the
  SDK `extra_body={"busy_policy": "enqueue"}`), or `busy_policy` of the agent, each `reject`, `enqueue`, `interrupt` or
  `rollback`. `enqueue` waits its turn (up to `TERTULIA_QUEUE_LIMIT` messages), `interrupt` cancels the current run and
  keeps what it said so far, `rollback` cancels it and discards what it added. The body overrides the header, and both
  override the agent. A queued run has the status `created`.
- **Fallback models.** `fallback_models`, a list of handles, of an agent or a conversation (in the SDK
  `extra_body={"fallback_models": ["openai/gpt-4o-mini"]}`): they are asked in order if the model is overloaded,
  rate limited or unreachable before it said anything. The conversation's override the agent's. `model` of a step and
  of a message is the one that answered.
- **Resumed runs.** If a run's server died or was stopped, its stream has an `event_message` of the `event_type`
  `resumed`, and frame numbers skip 1,000; [the API page](api.md#retries-otids-and-resumed-runs) says
  which frames are void.
- **Failed tries.** A step and its trace have `failed_tries` if a model call failed and was retried: `model`,
  `error_type`, `message`, `detail`, and `delay`, the seconds until the same model was retried, or null if the next one
  was asked.
- **Pending tool calls.** `GET /v1/conversations/{conversation_id}/approvals` lists them. They are denied
  when `TERTULIA_APPROVAL_DEADLINE` is over, whether a message arrives or not.
- **Compaction can be undone.** `POST /v1/conversations/{conversation_id}/compact/undo` shows the model again what the
  last compaction took out of view; what was said since stays. `compaction_stats` also say `mode`, `method` (a
  model, pieces, or excerpts without a model), `model`, `failure` and `summarizer_tokens`.
  `TERTULIA_COMPACTION_THRESHOLD` is the fraction of the window at which older messages are summarised.
- **Responses say what must not be retried.** The official SDKs retry requests that failed with 409 or 5xx. If a retry
  would be a second message, or get the same answer, the response carries `x-should-retry: false`.
- **Browsers.** A server without a key answers only to names of its own machine, and accepts no requests from pages of
  other origins (`TERTULIA_ALLOWED_HOSTS`, `TERTULIA_CORS_ORIGINS`).
- **Search in conversations.** `POST /v1/conversations/search` with `query` and, if wanted, `agent_id`,
  `archive_status`, `start_date`, `end_date`, `limit` answers `[{"conversation", "messages"}]`: conversations in which
  a message or the summary matches.
- **Previews** of a conversation's request as well as of an agent's: `…/messages/preview-raw-payload`.
- **Callbacks** of `agents.messages.create_async` are signed: `X-Tertulia-Signature: t=<seconds>,v1=<hex>` is the
  HMAC-SHA256 of `<t>.<body>` with the server's `TERTULIA_API_KEY`, or else the contents of `callback.key` in
  the data directory. The body has `run_id`, `agent_id`, `conversation_id`, `status`, `stop_reason`, `completed_at`,
  `error` and `metadata`. Five attempts are made in about two and a half minutes; the run's `callback_…` fields show
  the outcome.
- **Streams are kept** for `TERTULIA_EVENT_RETENTION`; resuming an older one is 410. Messages are kept.
- **Stored providers.** `/v1/providers/` has the paths and shapes of Letta's API reference. `api_key` is needed only
  where a provider's public address is used, and may be left out of a change. `base_url` may be an address of the
  server's own network: whoever has the server's key is trusted with what it can reach, and checks show nothing of an
  answer but the kind of failure. Credentials are encrypted under `TERTULIA_SECRET_KEY` (several keys with commas, the
  first encrypts; at start everything is brought under it) or under `secret.key` in the data directory.
- **Isolated blocks.** `isolated_block_labels` when a conversation is created, `isolated_block_ids` and `hidden` in
  every conversation.
"""


def document() -> str:
    """The page as it should be."""
    return f"{_INTRODUCTION}\n{_divergences()}\n{_operations()}\n{_requirements()}"


def _divergences() -> str:
    rows = [f"| `{row.id}` | {_cell(row.divergence)} |" for row in REQUIREMENTS if row.divergence]
    return "\n".join(
        ["## Where we differ from the retired server", "", "| id | what is different |", "|---|---|", *rows, ""]
    )


def _operations() -> str:
    known = operations()
    rows = [
        f"| `{row.sdk}` | {row.method} | `{row.path}` | {'supported' if row.sdk in SUPPORTED else '501'} |"
        for row in sorted(known, key=lambda row: row.sdk)
    ]
    return "\n".join(
        [
            f"## The {len(known)} operations of the SDK",
            "",
            f"{len(SUPPORTED)} are supported. The others answer 501 with a body that names the operation, never 404.",
            "",
            "| operation | method | path | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _requirements() -> str:
    lines = [f"## The {len(REQUIREMENTS)} promises", ""]
    for area in dict.fromkeys(_area(row) for row in REQUIREMENTS):
        lines += [f"### {area}", "", "| id | what holds | operation |", "|---|---|---|"]
        lines += [
            f"| `{row.id}` | {_cell(row.text)} | `{row.operation}` |" for row in REQUIREMENTS if _area(row) == area
        ]
        lines.append("")
    return "\n".join(lines)


def _area(row: Requirement) -> str:
    return row.id.split(".", maxsplit=1)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
