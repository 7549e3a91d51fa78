"""The compatibility promises as data: each has an id, a sentence, the SDK operation it belongs to, and a test.

A test says which promise it proves with `@requirement("id")`. `test_requirements.py` checks both ways that none is left
over, and that `docs/compatibility.md`, which is written from this table, is up to date.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Requirement:
    """`operation` is the SDK's name for the call, or `server` for what holds everywhere.

    `divergence` tells where we do otherwise than the retired server, and why.
    """

    id: str
    operation: str
    text: str
    divergence: str = ""


def requirement(*ids: str) -> pytest.MarkDecorator:
    """Marks a test as the proof of these rows.

    :raises KeyError: if there is no such row.
    """
    for id_ in ids:
        BY_ID[id_]
    return pytest.mark.requirement(*ids)


# fmt: off
# ruff: noqa: E501  (a table reads best with one row a line)
REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("health.reports-the-api-level", "health", "`version` is the API level clients look for, at least 0.16.6; our own version stands beside it; both slash forms answer."),
    Requirement("models.list.returns-contract-shape", "models.list", "Every model of a configured provider is listed with its handle and context window."),
    Requirement("models.list.filters", "models.list", "`provider_name`, `provider_type` and `provider_category` narrow the list."),
    Requirement("models.list.refuses-unknown-types", "models.list", "A provider type or category the API does not know is 422."),
    Requirement("models.embeddings.list.returns-contract-shape", "models.embeddings.list", "Embedding models are listed; a server without one answers an empty list."),

    Requirement("agents.create.returns-contract-shape", "agents.create", "A created agent shows every field of the schema and is there at once."),
    Requirement("agents.create.stores-every-field", "agents.create", "What an agent is created with is returned, by create and by retrieve."),
    Requirement("agents.create.defaults", "agents.create", "An agent created with nothing has a name, the default model, the base tools and a system message."),
    Requirement("agents.create.no-base-tools", "agents.create", "`include_base_tools: false` leaves the base tools out."),
    Requirement("agents.create.refuses-unknown-parts", "agents.create", "Blocks, tools, models and values that are not there or not valid are refused with 400, 404 or 422, and no agent is made."),
    Requirement("agents.create.not-built", "agents.create", "Secrets, environment variables, identities, sources, folders, templates and other kinds of agents are refused with 501 instead of being ignored."),
    Requirement("agents.create.initial-messages", "agents.create", "`initial_message_sequence` is the beginning of the default conversation."),
    Requirement("agents.create.memory-variables", "agents.create", "`memory_variables` are filled into the blocks."),
    Requirement("agents.retrieve.last-run", "agents.retrieve", "`last_run_completion`, `last_run_duration_ms`, `last_stop_reason` and a conversation's `last_message_at` follow each run."),
    Requirement("agents.update.message-buffer-autoclear", "agents.update", "With `message_buffer_autoclear` each message is sent without the history, which is kept."),
    Requirement("agents.create.model-handle-format", "agents.create", "A handle without a provider is 400, beginning `INVALID_ARGUMENT: The model handle should be in the format provider/model-name`."),
    Requirement("agents.retrieve.unknown-is-404", "agents.retrieve", "An unknown agent is 404 on every route that names one, with the id in `detail`."),
    Requirement("agents.retrieve.include", "agents.retrieve", "Relations named in `include` are in the reply."),
    Requirement("agents.list.filters", "agents.list", "`name`, `query_text`, `tags` and `match_all_tags` narrow the list."),
    Requirement("agents.list.filters-by-stop-reason", "agents.list", "`last_stop_reason` finds agents by how their last run ended."),
    Requirement("agents.list.filters-by-what-is-not-built", "agents.list", "A filter by an identity, template, project or user, which no agent or block has, is refused or finds none; it is never ignored."),
    Requirement("agents.list.order-and-cursors", "agents.list", "Newest first by default; `after` and `before` page in the sort order, as the SDK's iteration expects."),
    Requirement("agents.list.order-by", "agents.list", "`order_by` takes `created_at`, `updated_at` and `last_run_completion`."),
    Requirement("agents.update.every-field", "agents.update", "Each field can be changed alone; an absent field is untouched."),
    Requirement("agents.update.null-clears", "agents.update", "`null` clears a field that may be empty."),
    Requirement("agents.update.model", "agents.update", "A changed model, context window and `parallel_tool_calls` reach the provider with the next message."),
    Requirement("agents.update.blocks-and-tools", "agents.update", "`block_ids` and `tool_ids` replace what the agent has."),
    Requirement("agents.delete.is-final", "agents.delete", "200 `null`; then the agent and its conversations are 404."),
    Requirement("agents.recompile.returns-the-system-prompt", "agents.recompile", "A JSON string: the instructions, the blocks under `<memory_blocks>`, and `<memory_metadata>` with its three lines."),
    Requirement("agents.recompile.dry-run", "agents.recompile", "`dry_run` returns the prompt and stores nothing."),
    Requirement("agents.messages.reset.empties-the-history", "agents.messages.reset", "The default conversation keeps its system message alone, and the next message works."),
    Requirement("agents.tools.list.returns-contract-shape", "agents.tools.list", "The tools of an agent are listed, page by page."),
    Requirement("agents.tools.attach-and-detach", "agents.tools.attach", "A tool is attached and detached; the model is offered what is attached."),

    Requirement("agents.blocks.by-label", "agents.blocks.retrieve", "A block is read and written by its label."),
    Requirement("agents.blocks.list.order-and-cursors", "agents.blocks.list", "The blocks of an agent come in the order they were attached, page by page."),
    Requirement("agents.blocks.attach-and-detach", "agents.blocks.attach", "A block is attached and detached; detaching does not delete it."),
    Requirement("agents.blocks.attach-refuses-a-second-label", "agents.blocks.attach", "An agent has one block of a label; a second one is 400."),
    Requirement("blocks.create.returns-contract-shape", "blocks.create", "A created block shows every field of the schema."),
    Requirement("blocks.retrieve.unknown-is-404", "blocks.retrieve", "An unknown block is 404 on every route that names one."),
    Requirement("blocks.list.filters", "blocks.list", "`label`, `label_search`, `value_search`, `description_search`, `tags` and `match_all_tags` narrow the list."),
    Requirement("blocks.list.filters-templates", "blocks.list", "`templates_only` and `name` find templates."),
    Requirement("blocks.list.filters-by-connected-agents", "blocks.list", "`connected_to_agents_count_gt`, `_lt` and `_eq` find blocks by how many agents have them."),
    Requirement("blocks.list.order-and-cursors", "blocks.list", "Order and cursors as for agents."),
    Requirement("blocks.update.every-field", "blocks.update", "Each field can be changed alone; an absent field is untouched."),
    Requirement("blocks.update.null-clears", "blocks.update", "`null` clears a field that may be empty."),
    Requirement("blocks.update.keeps-the-limit", "blocks.update", "A value past the limit, or a limit below the value, is 400 with both numbers; nothing changes."),
    Requirement("blocks.delete.is-final", "blocks.delete", "200 `null`; then the block is 404 and gone from its agents."),
    Requirement("blocks.agents.list.returns-contract-shape", "blocks.agents.list", "The agents that have a block are listed, page by page."),

    Requirement("tools.list.has-the-built-in-tools", "tools.list", "Every built-in tool is listed under the API's name, with its JSON schema."),
    Requirement("tools.list.filters", "tools.list", "`name`, `names`, `tool_ids`, `search`, `tool_types`, `exclude_tool_types` and `return_only_letta_tools` narrow the list."),
    Requirement("tools.list.order-and-cursors", "tools.list", "Order and cursors as for agents."),
    Requirement("tools.retrieve.unknown-is-404", "tools.retrieve", "A tool is retrieved by id; an unknown one is 404."),
    Requirement("tags.list.names-every-tag-once", "tags.list", "Each tag of any agent is named once, in order, with cursors, `name` and `query_text`."),

    Requirement("conversations.create.returns-contract-shape", "conversations.create", "A created conversation shows every field of the schema; its id is 41 characters."),
    Requirement("conversations.create.needs-an-agent", "conversations.create", "Without `agent_id` it is 422."),
    Requirement("conversations.create.has-the-system-message-in-context", "conversations.create", "A new conversation carries its system message in `in_context_message_ids`.", "The retired server could answer with an empty list until the conversation was retrieved."),
    Requirement("conversations.retrieve.unknown-is-404", "conversations.retrieve", "An unknown conversation is 404 on every route that names one."),
    Requirement("conversations.retrieve.knows-every-message-in-context", "conversations.retrieve", "`in_context_message_ids` names every message in the context, in order."),
    Requirement("conversations.id-length", "conversations.retrieve", "A `conversation_id` longer than 41 characters is 422 on every route."),
    Requirement("conversations.list.filters", "conversations.list", "`agent_id`, `archive_status` and `summary_search` narrow the list."),
    Requirement("conversations.list.hidden", "conversations.list", "A hidden conversation is not listed, but found by its id."),
    Requirement("conversations.list.default-conversation-is-not-listed", "conversations.list", "An agent's default conversation is not in the list."),
    Requirement("conversations.list.order-and-cursors", "conversations.list", "Order and cursors as for agents."),
    Requirement("conversations.list.order-by", "conversations.list", "`order_by` takes `created_at`, `last_message_at` and `last_run_completion`."),
    Requirement("conversations.update.every-field", "conversations.update", "Each field can be changed alone; an absent field is untouched."),
    Requirement("conversations.update.null-clears", "conversations.update", "`null` clears a field."),
    Requirement("conversations.update.archived", "conversations.update", "Archiving sets `archived_at`, unarchiving clears it."),
    Requirement("conversations.update.max-tokens", "conversations.update", "`max_tokens`, which Letta Code sends, is `model_settings.max_output_tokens`."),
    Requirement("conversations.update.refuses-bad-values", "conversations.update", "A value that does not validate is refused and changes nothing."),
    Requirement("conversations.delete.is-final", "conversations.delete", "200 `null`; then it is 404 everywhere, deleting it again included."),
    Requirement("conversations.know-the-memory-and-not-each-other", "conversations.create", "Conversations of an agent share its memory and none of their words."),

    Requirement("conversations.fork.shares-the-history", "conversations.fork", "A fork has the history of its source, goes its own way, and outlives it.", "The reply has no `in_context_message_ids` (null): a fork costs the same whatever its length. Retrieve it for them."),
    Requirement("conversations.fork.up-to-a-message", "conversations.fork", "With `message_id` it ends with that message."),
    Requirement("conversations.fork.has-the-memory-of-today", "conversations.fork", "Its system message is its own, compiled from the blocks as they are."),
    Requirement("conversations.fork.default-and-hidden", "conversations.fork", "The default conversation can be forked, and a fork be hidden."),
    Requirement("conversations.fork.while-running", "conversations.fork", "A conversation that is answering can be forked; neither waits for the other."),
    Requirement("conversations.isolated-blocks", "conversations.create", "A conversation with `isolated_block_labels` has copies of those blocks; what it writes there is its own."),

    Requirement("messages.create.json-reply", "conversations.messages.create", "`streaming: false` answers the new messages, the stop reason, the usage, `logprobs` and `turns`."),
    Requirement("messages.create.sends-the-history", "conversations.messages.create", "The model is sent the system prompt, the history and the new message, in order."),
    Requirement("messages.create.input-and-messages", "conversations.messages.create", "Both `input` and `messages`, neither, or a body that does not validate is 422 and stores nothing."),
    Requirement("messages.create.empty-messages", "conversations.messages.create", "`messages: []` is 422 with the words `Messages must not be empty`."),
    Requirement("messages.create.content-parts", "conversations.messages.create", "Text and image parts reach the model and the history."),
    Requirement("messages.create.several-messages", "conversations.messages.create", "Several messages are stored in order, with `name` and `otid`; the role `system` may be among them."),
    Requirement("messages.create.reasoning", "conversations.messages.create", "The model's reasoning is a `reasoning_message` with the reply's id and an `otid` of its own."),
    Requirement("messages.create.otid-retry", "conversations.messages.create", "A request whose otids were all seen is a retry and gets the same run's reply."),
    Requirement("messages.create.otid-retry-while-running", "conversations.messages.create", "A retry while the run is on attaches to it instead of being refused as a second message."),
    Requirement("messages.create.override-model", "conversations.messages.create", "`override_model` holds for its request alone."),
    Requirement("messages.create.conversation-model", "conversations.messages.create", "The model and settings of a conversation go before the agent's."),
    Requirement("messages.create.override-system", "conversations.messages.create", "`override_system` replaces the system prompt for its request alone."),
    Requirement("messages.create.type-filter", "conversations.messages.create", "`include_return_message_types` narrows the reply, not the history."),
    Requirement("messages.create.max-steps", "conversations.messages.create", "The loop ends at `max_steps` with that stop reason, and the next message works."),
    Requirement("messages.create.assistant-message-tool", "agents.messages.create", "For old agents the call of `send_message` is shown as an assistant message, unless `use_assistant_message` is false."),
    Requirement("messages.create.finish-length", "conversations.messages.create", "A reply cut at the token limit stops with `max_tokens_exceeded`."),
    Requirement("agents.messages.create.json-by-default", "agents.messages.create", "The agent's route answers JSON unless it is asked to stream."),

    Requirement("stream.frames-in-order", "conversations.messages.create", "`ping` with the run's id, messages, `stop_reason`, `usage_statistics`, `data: [DONE]`."),
    Requirement("stream.is-the-default", "conversations.messages.create", "A conversation streams unless told otherwise."),
    Requirement("stream.tokens-share-id-and-otid", "conversations.messages.create", "With `stream_tokens` each delta is a message with the new text alone; the deltas of one message share `id` and `otid`."),
    Requirement("stream.tokens-come-at-once", "conversations.messages.create", "A token is sent while the model still talks; without `stream_tokens` each message comes whole."),
    Requirement("stream.same-ids-as-the-list", "conversations.messages.create", "A streamed message has the `id` and `otid` it is later listed with."),
    Requirement("stream.parts-of-one-reply", "conversations.messages.create", "Reasoning, text and tool call of one reply share the id and differ in `otid`."),
    Requirement("stream.tool-calls", "conversations.messages.create", "A frame of a tool call carries one delta object in `tool_call` and `tool_calls`."),
    Requirement("stream.tool-returns", "conversations.messages.create", "A tool return is in the old fields and in `tool_returns`."),
    Requirement("stream.one-run-one-seq", "conversations.messages.create", "Every ping and message frame names the run; `seq_id` counts from 1.", "The retired server numbered the frames of background runs alone."),
    Requirement("stream.unicode", "conversations.messages.create", "Text beyond ASCII arrives whole, in frames of one line."),
    Requirement("stream.failure", "conversations.messages.create", "A failing model ends the stream with `stop_reason: llm_api_error`, `event: error`, `[DONE]`."),
    Requirement("stream.failure-in-the-sdk", "conversations.messages.create", "The SDK raises the error frame as an `APIStatusError`."),
    Requirement("stream.pings", "conversations.messages.create", "`include_pings` adds pings and changes nothing else."),
    Requirement("agents.messages.stream", "agents.messages.stream", "Both routes of an agent that stream, stream."),

    Requirement("messages.list.order", "conversations.messages.list", "Newest first by default, oldest first with `order=asc`."),
    Requirement("messages.list.before-is-older-after-is-newer", "conversations.messages.list", "`before` means older and `after` newer than the named message, whatever the order."),
    Requirement("messages.list.limit", "conversations.messages.list", "A page holds the messages that the order puts next to the cursor."),
    Requirement("messages.list.sdk-iteration", "conversations.messages.list", "The SDK's iteration sees every message once with `order=asc`.", "With `order=desc` the SDK goes on with `after`, which here means newer: iterate with `order=asc`, or page back with `before`."),
    Requirement("messages.list.polling-with-after-alone", "conversations.messages.list", "`after` alone gives what is newer, for a client that polls."),
    Requirement("messages.list.type-filter", "conversations.messages.list", "`include_return_message_types` narrows the list, and `limit` counts what is left."),
    Requirement("messages.list.unknown-cursor", "conversations.messages.list", "A cursor that names no message is 404."),
    Requirement("messages.list.refuses-bad-parameters", "conversations.messages.list", "A parameter that does not validate is 422."),
    Requirement("messages.list.across-conversations", "messages.list", "Messages of every conversation are listed together, or of one with `conversation_id`."),
    Requirement("messages.list.assistant-message-tool", "agents.messages.list", "`use_assistant_message` decides how the message tool of old agents is shown."),
    Requirement("agents.messages.list.conversation", "agents.messages.list", "`conversation_id` names a conversation of the agent, or `default`."),
    Requirement("messages.retrieve.is-a-list", "messages.retrieve", "One stored message is answered as the list of wire messages it is."),

    Requirement("runs.retrieve.returns-contract-shape", "runs.retrieve", "A finished run tells its status, stop reason, times and request."),
    Requirement("runs.unknown-is-404", "runs.retrieve", "An unknown run or step is 404 on every route that names one."),
    Requirement("runs.list.filters", "runs.list", "`agent_id`, `agent_ids`, `conversation_id`, `statuses`, `stop_reason`, `background` and `active` narrow the list."),
    Requirement("runs.list.order-and-cursors", "runs.list", "Order and cursors as for agents; `ascending` is understood too."),
    Requirement("runs.messages.list.returns-contract-shape", "runs.messages.list", "The messages of a run are its input and its output."),
    Requirement("runs.steps.list.returns-contract-shape", "runs.steps.list", "Each step tells its model, provider and tokens."),
    Requirement("runs.trace.retrieve.spans", "runs.trace.retrieve", "A run is told as spans: itself, its steps, their model calls and tools, with durations."),
    Requirement("runs.usage.retrieve.adds-up-the-steps", "runs.usage.retrieve", "The usage of a run is the sum of its steps."),
    Requirement("runs.failure-is-recorded", "runs.retrieve", "A failed run and its step tell the error's type and the provider's words."),
    Requirement("steps.retrieve.returns-contract-shape", "steps.retrieve", "A step is retrieved as it is listed."),
    Requirement("steps.list.filters", "steps.list", "`agent_id`, `model`, `start_date`, `end_date`, `feedback`, `has_feedback` and `tags` narrow the list."),
    Requirement("steps.feedback.create", "steps.feedback.create", "Feedback and tags on a step are kept, found by the filters, and cleared by `null`."),
    Requirement("steps.messages.list.returns-contract-shape", "steps.messages.list", "The messages of a step are what it made."),
    Requirement("steps.metrics.retrieve.returns-contract-shape", "steps.metrics.retrieve", "The times of a step, in nanoseconds."),
    Requirement("steps.trace.retrieve.is-what-was-sent", "steps.trace.retrieve", "The trace is the provider's request and reply as sent."),

    Requirement("default-conversation.every-route-is-the-same", "agents.messages.create", "`default` with `agent_id`, the agent's own routes, and the agent's id in the path (deprecated) are one conversation."),
    Requirement("default-conversation.needs-an-agent", "conversations.messages.create", "`default` without `agent_id` is 400, with an unknown one 404."),
    Requirement("default-conversation.is-apart-from-the-others", "conversations.messages.create", "The default conversation knows nothing of the others."),
    Requirement("default-conversation.runs", "runs.list", "Its runs are found by the agent."),

    Requirement("busy.every-route-of-the-default-conversation", "agents.messages.create", "While a run is on, every route that sends answers 409 with the words and the `run_id` that clients look for.", "The retired server let blocking requests through and lost their messages."),
    Requirement("busy.conversation", "conversations.messages.create", "A busy conversation answers 409; no other conversation waits."),
    Requirement("busy.one-of-many-wins", "conversations.messages.create", "Of many sends at once one runs, the others are refused, and no message is lost."),
    Requirement("busy.deleting-cancels", "conversations.delete", "Deleting a conversation or an agent that is answering cancels the run, whose stream ends as it should."),
    Requirement("busy.changes-do-not-wait", "conversations.update", "Agents, blocks and conversations are read and changed while a run is on; a reset is refused with 409."),
    Requirement("busy-policy.enqueue", "conversations.messages.create", "With `busy_policy: enqueue` (or the header `x-tertulia-busy`) a message waits its turn instead of being refused.", "Ours alone; the default is the 409 of the API."),
    Requirement("busy-policy.interrupt", "conversations.messages.create", "With `interrupt` it stops the run that is on, whose message is kept.", "Ours alone."),
    Requirement("busy-policy.rollback", "conversations.messages.create", "With `rollback` it takes the place of the message that was being answered.", "Ours alone."),
    Requirement("busy-policy.unknown", "conversations.messages.create", "An unknown policy is 422 and the known ones are named.", "Ours alone."),
    Requirement("vanished.stream-is-cancelled", "conversations.messages.create", "A stream that is left cancels its run and lets go of the model; the next message works."),
    Requirement("vanished.json-is-cancelled", "conversations.messages.create", "A blocking request that is left cancels its run."),
    Requirement("vanished.tool-calls-have-returns", "conversations.messages.create", "Every tool call of a cancelled run has its return."),
    Requirement("concurrency.a-hundred-conversations", "conversations.messages.create", "A hundred conversations of one agent answer at once, without an error."),
    Requirement("crash.in-the-middle-of-a-stream", "conversations.messages.create", "After `kill -9` in the middle of a reply the next message works at once, and no run stays `running`."),
    Requirement("crash.finished-tool-calls-are-kept-and-not-repeated", "conversations.messages.create", "A finished tool call survives `kill -9` and is not repeated."),
    Requirement("crash.queued-messages-are-answered", "conversations.messages.create", "A background message that waited its turn is answered after `kill -9` and a start."),
    Requirement("crash.graceful-stop", "conversations.messages.create", "What was stored is there after a stop and a start."),

    Requirement("background.frames-are-numbered", "conversations.messages.create", "With `background: true` every ping and message frame has a `seq_id`, from 1; the frames at the end have none."),
    Requirement("background.outlives-its-client", "conversations.messages.create", "A background run goes on when its client has left."),
    Requirement("resume.exactly-the-frames-after", "conversations.messages.stream", "A finished run named by `run_id` or `otid` replays exactly the frames after `starting_after`, then its end."),
    Requirement("resume.from-the-log-and-then-live", "runs.messages.stream", "A resumed stream gives what was, then what comes, to any number of readers."),
    Requirement("resume.nothing-running", "conversations.messages.stream", "With nothing named and nothing running it is 400 `INVALID_ARGUMENT: No active runs found for this conversation.`"),
    Requirement("cancel.conversation", "conversations.cancel", "A cancelled run answers `{run_id: cancelled}` and ends its stream with `stop_reason: cancelled`; the next message works."),
    Requirement("cancel.nothing-running", "conversations.cancel", "With nothing running it is 409 `CONFLICT: No active runs to cancel for conversation conv-…`."),
    Requirement("cancel.agent", "agents.messages.cancel", "The runs of an agent are cancelled by its own route, all or by id."),
    Requirement("conversations.recompile.returns-the-system-prompt", "conversations.recompile", "The system prompt of a conversation is compiled anew, stored and returned."),

    Requirement("model-settings.every-shape", "agents.create", "All 17 shapes of `model_settings` are stored and returned whole, on agents and conversations."),
    Requirement("model-settings.refuses-wrong-ones", "agents.update", "A field that is of the wrong type or not of the shape is 422."),
    Requirement("model-settings.refuses-another-providers", "agents.update", "Settings of another provider than the model's are 400."),
    Requirement("model-settings.reach-the-provider", "conversations.messages.create", "Every field of OpenAI's settings that a user sets is in the request to the provider."),
    Requirement("model-settings.reach-anthropic", "conversations.messages.create", "Every field of Anthropic's and Moonshot Coding's settings that a user sets is in the request to the provider."),
    Requirement("model-settings.refuses-inexpressible", "agents.update", "A setting that the provider has no parameter for is 400 when it is set, and says why."),
    Requirement("model-settings.no-adapter", "conversations.messages.create", "Sending to a provider that has no adapter yet is 400 and says so."),

    Requirement("tools.offered-to-the-model", "conversations.messages.create", "The tools of an agent are offered to the model with their schemas."),
    Requirement("tools.loop-until-answered", "conversations.messages.create", "The loop goes on until a reply without tool calls."),
    Requirement("tools.json-reply-lists-calls", "conversations.messages.create", "A JSON reply carries `tool_calls` as a list."),
    Requirement("tools.parallel", "conversations.messages.create", "Parallel calls are all made and all returned, in order."),
    Requirement("tools.bad-arguments-go-back-to-the-model", "conversations.messages.create", "A call with bad arguments or of an unknown tool comes back to the model with status `error`."),
    Requirement("tools.rules.exit-loop", "conversations.messages.create", "A terminal tool ends the loop with stop reason `tool_rule`."),
    Requirement("tools.rules.run-first", "conversations.messages.create", "An init tool is the only choice of the first step."),
    Requirement("messages.create.impossible-options", "conversations.messages.create", "`enable_thinking`, token ids, and log probabilities in a stream or from a model that gives none are refused with 400 instead of being ignored."),
    Requirement("messages.create.logprobs", "conversations.messages.create", "`return_logprobs` and `top_logprobs` reach an OpenAI-compatible provider, and a JSON reply has what it answers."),
    Requirement("messages.create.group-id", "conversations.messages.create", "`group_id` of a message is kept, and `group_id` narrows the list to it."),
    Requirement("messages.create.assistant-message-tool-of-a-conversation", "conversations.messages.create", "`assistant_message_tool_name` and `assistant_message_tool_kwarg` say which tool speaks and in which argument."),
    Requirement("messages.list.include-err", "conversations.messages.list", "`include_err: false` leaves failed tool returns out."),
    Requirement("conversations.default-with-agent-id", "conversations.retrieve", "Every operation on a conversation takes `default` with `agent_id`."),
    Requirement("conversations.recompile.dry-run", "conversations.recompile", "`dry_run` returns the prompt and stores nothing."),
    Requirement("conversations.recompile.compaction-settings", "conversations.recompile", "`compaction_settings` compacts the conversation before its prompt is recompiled; a dry run with them is 400."),
    Requirement("resume.polling-parameters", "conversations.messages.stream", "`batch_size` and `poll_interval`, for servers that poll, are accepted and change no frame; `include_pings` keeps the stream alive.", "Frames are pushed as they come, so there is nothing to tune."),
    Requirement("parameters.all-proven", "server", "Every parameter of the twelve conversation operations is in the table of tests/conformance/test_parameters.py with the promise that proves it."),
    Requirement("messages.create.include-compaction-messages", "conversations.messages.create", "`include_compaction_messages` tells of a compaction with an `event_message` and a `summary_message`."),
    Requirement("conversations.messages.compact.settings", "conversations.messages.compact", "A compaction goes by the settings it is given; the history stays listable."),
    Requirement("conversations.messages.compact.default-with-agent-id", "conversations.messages.compact", "`default` is compacted with its `agent_id`, or by the agent's own route."),
    Requirement("messages.create.preview", "agents.messages.create", "`preview-raw-payload` shows the request that would go to the model, sends nothing and stores nothing."),
    Requirement("agents.messages.create_async.returns-the-run", "agents.messages.create_async", "The run is answered at once and goes on in the background; its stream and messages are read by its id."),
    Requirement("agents.messages.create_async.callback-url", "agents.messages.create_async", "A `callback_url` is kept with the run; one of this machine or a private network is 400."),
    Requirement("messages.search.by-words", "messages.search", "Messages with all the words are found, best first, in every conversation or in one.", "`hybrid` is full text alone and `vector` is 501 until there are embeddings."),
    Requirement("messages.search.filters", "messages.search", "`agent_id`, `conversation_id`, `start_date`, `end_date` and `limit` narrow the search."),

    Requirement("client-tools.are-offered-and-asked-for", "conversations.messages.create", "A call of a tool from `client_tools` is an `approval_request_message`, then `stop_reason: requires_approval`; the run ends and the conversation waits."),
    Requirement("client-tools.every-form-of-answer", "conversations.messages.create", "Messages of type `approval` and `tool_return` bring the client's return, and the loop goes on."),
    Requirement("client-tools.error-return", "conversations.messages.create", "An error of the client's tool is told to the model."),
    Requirement("client-skills.are-named-to-the-model", "conversations.messages.create", "`client_skills` are named in the system prompt of their message alone."),
    Requirement("approvals.nothing-else-meanwhile", "conversations.messages.create", "Any other message meanwhile is 409 with the words clients look for."),
    Requirement("approvals.wrong-answer", "conversations.messages.create", "An answer to a call that does not wait is 400 and names it; the right answer still works."),
    Requirement("approvals.pending-is-shown", "agents.retrieve", "`pending_approval` is the request that the default conversation waits with."),
    Requirement("approvals.approve", "conversations.messages.create", "A call that a rule wants approved is made once it is, by request or by call."),
    Requirement("approvals.deny", "conversations.messages.create", "A denied call is not made, and the model learns why."),
    Requirement("approvals.of-a-tool", "agents.tools.update_approval", "A tool of an agent is made to wait for approval, and let go again."),
    Requirement("approvals.mixed-calls", "conversations.messages.create", "Of several calls those that need no answer are made, the others wait, and are answered in any order."),

    Requirement("memory.recompiled-at-the-next-message", "conversations.messages.create", "A block that changed is in the system prompt of the next message."),
    Requirement("memory.edits-of-two-conversations-are-both-kept", "conversations.messages.create", "Edits that two conversations make at once are both kept."),
    Requirement("memory.clash-goes-back-to-the-model", "conversations.messages.create", "Of two edits of one place the second comes back to the model as an error."),
    Requirement("memory.rewrite-against-a-newer-block-is-refused", "conversations.messages.create", "A rewrite of a block the model has not seen comes back as an error instead of overwriting it."),
    Requirement("memory-tools.edit", "conversations.messages.create", "`memory_insert`, `memory_replace`, `memory_rethink`, `core_memory_append` and `core_memory_replace` edit their block."),
    Requirement("memory-tools.omni-tool", "conversations.messages.create", "`memory` creates, edits, renames and deletes blocks."),
    Requirement("memory-tools.refuse", "conversations.messages.create", "An impossible edit changes nothing and tells the model why, limits with their numbers."),
    Requirement("memory-tools.recompiled-within-the-run", "conversations.messages.create", "A tool's edit is in the system prompt of the next message."),
    Requirement("conversation-search.finds-the-agents-messages", "conversations.messages.create", "`conversation_search` finds words in every conversation of the agent, and of no other."),
    Requirement("conversation-search.any-query", "conversations.messages.create", "No query is a syntax error."),
    Requirement("conversation-search.roles-limit-and-dates", "conversations.messages.create", "`roles`, `limit`, `start_date` and `end_date` narrow the search."),

    Requirement("provider-failure.json", "conversations.messages.create", "A failing model is told as `error` with `type`, `message` and `detail` with 401, 429, 502 or 504, and the next message works.", "The retired server answered 500 where the model's endpoint fails; here it is 502."),
    Requirement("provider-failure.stream", "conversations.messages.create", "The same failure in a stream is an error frame, and the next message works."),
    Requirement("provider-failure.retry-after", "conversations.messages.create", "The provider's `retry-after` is passed on."),
    Requirement("provider-failure.context-too-long", "conversations.messages.create", "A context that does not fit is told, and the next message works."),
    Requirement("provider-failure.nothing-lost", "conversations.messages.create", "The message that met a failure is in the history at most once."),

    Requirement("bad-input.invalid-json", "server", "A body that is not a JSON object is 422."),
    Requirement("bad-input.oversized-body", "server", "A body over the limit is 413 with the number, whether its length is declared or not."),
    Requirement("bad-input.method-and-path", "server", "A wrong method is 405, an unknown path 404."),
    Requirement("bad-input.strange-ids", "server", "A strange id is 404 or 422."),
    Requirement("bad-input.unknown-model", "conversations.messages.create", "A model of a provider that is not configured is 400 and says what to set."),
    Requirement("bad-input.null-characters", "server", "A null character is stored as it is."),
    Requirement("bad-input.lone-surrogates", "server", "A lone surrogate is refused."),
    Requirement("bad-input.numbers-out-of-range", "server", "A number that no column can hold is 422."),
    Requirement("bad-input.endpoint-down", "conversations.messages.create", "An endpoint that is down is told with its address, and hides no other model."),
    Requirement("bad-input.missing-key", "conversations.messages.create", "A missing key is told with the variable to set."),
    Requirement("models.compatible-endpoints", "models.list", "Ollama, vLLM, LM Studio, llama.cpp and endpoints of any name are reached by their handles."),
    Requirement("auth.key", "server", "With a key configured every route but health answers 401 without it; the SDK sends it as its `api_key`."),
    Requirement("any-input.no-500", "server", "Whatever Schemathesis makes up from our OpenAPI document, no answer is 500.", "Python's names for things are never in an error; the retired server put them there."),

    Requirement("operations.table-is-the-sdk", "server", "The table of operations is the installed SDK's."),
    Requirement("operations.unsupported-is-501", "server", "An operation that is not built answers 501 and names itself."),
    Requirement("operations.supported-is-not-501", "server", "A supported operation answers with and without the slash at the end, without a redirect."),
    Requirement("openapi.has-every-supported-operation", "server", "`/openapi.json` describes each supported operation with every parameter and field the SDK can send."),
    Requirement("openapi.lettas-operation-ids", "server", "Operation ids are Letta's, each used once."),
    Requirement("openapi.docs-without-a-cdn", "server", "`/docs` loads nothing from elsewhere."),
    Requirement("embedded-model.whole-conversation", "conversations.messages.create", "The life of a conversation, from creation to deletion, on the built-in model alone."),
)
# fmt: on

BY_ID = {row.id: row for row in REQUIREMENTS}
