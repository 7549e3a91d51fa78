// The conversation operations through the TypeScript SDK, against the server at LETTA_BASE_URL.
// Its model answers "wait" with a beginning and silence, "call the tool" with a call of `weather`, "be late" with silence
// the first time and then "in time", and all else with "ok".
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";

const client = new Letta({ baseURL: process.env.LETTA_BASE_URL, apiKey: "unused", maxRetries: 0 });
let agent;

before(async () => {
  agent = await client.agents.create({ model: process.env.MODEL, memory_blocks: [{ label: "human", value: "Ada" }] });
});

const start = (fields = {}) => client.conversations.create({ agent_id: agent.id, ...fields });

// The SDK types every reply of this route as a stream; a blocking one is read from its response.
async function send(conversation, body) {
  const reply = client.conversations.messages.create(conversation.id, { streaming: false, ...body });
  return await (await reply.asResponse()).json();
}

const say = (conversation, input, fields = {}) => send(conversation, { input, ...fields });

async function frames(conversation, fields) {
  const seen = [];
  for await (const event of await client.conversations.messages.create(conversation.id, fields)) seen.push(event);
  return seen;
}

async function history(conversation, query = {}) {
  const seen = [];
  for await (const message of client.conversations.messages.list(conversation.id, { order: "asc", ...query })) {
    seen.push(message);
  }
  return seen;
}

const types = (messages) => messages.map((message) => message.message_type);
const text = (messages) =>
  messages.filter((message) => message.message_type === "assistant_message").map((message) => message.content).join("");
const refused = (status) => (error) => error instanceof Letta.APIError && error.status === status;

describe("a conversation", () => {
  test("is created, retrieved, updated and listed", async () => {
    const conversation = await start({ summary: "bees" });
    assert.equal(conversation.agent_id, agent.id);
    const renamed = await client.conversations.update(conversation.id, { summary: "wasps" });
    assert.equal(renamed.summary, "wasps");
    assert.equal((await client.conversations.retrieve(conversation.id)).summary, "wasps");
    const listed = await client.conversations.list({ agent_id: agent.id, summary_search: "wasp" });
    assert.deepEqual(listed.map((found) => found.id), [conversation.id]);
  });

  test("is archived and leaves the list", async () => {
    const conversation = await start();
    await client.conversations.update(conversation.id, { archived: true });
    const listed = await client.conversations.list({ agent_id: agent.id });
    assert.ok(!listed.some((found) => found.id === conversation.id));
    const archived = await client.conversations.list({ agent_id: agent.id, archive_status: "archived" });
    assert.ok(archived.some((found) => found.id === conversation.id));
  });

  test("is deleted, and gone afterwards", async () => {
    const conversation = await start();
    await client.conversations.delete(conversation.id);
    await assert.rejects(client.conversations.retrieve(conversation.id), refused(404));
  });

  test("compiles its system prompt again", async () => {
    const conversation = await start();
    assert.match(await client.conversations.recompile(conversation.id, { dry_run: true }), /Ada/);
  });
});

describe("a message", () => {
  test("that the SDK sends again after its timeout is one message with one answer", async () => {
    const conversation = await start();
    const impatient = client.withOptions({ timeout: 1000, maxRetries: 5 });
    const sent = impatient.conversations.messages.create(conversation.id, { input: "be late", streaming: false });
    assert.equal(text((await (await sent.asResponse()).json()).messages), "in time");
    const kept = (await history(conversation)).filter((message) => message.message_type !== "system_message");
    assert.deepEqual(kept.map((message) => message.content), ["be late", "in time"]);
  });

  test("is answered at once with streaming: false", async () => {
    const reply = await say(await start(), "hello");
    assert.equal(text(reply.messages), "ok");
    assert.equal(reply.stop_reason.stop_reason, "end_turn");
    assert.equal(reply.usage.step_count, 1);
  });

  test("is answered by a stream of tokens", async () => {
    const events = await frames(await start(), { input: "hello", stream_tokens: true });
    assert.equal(text(events), "ok");
    assert.deepEqual(types(events).slice(-2), ["stop_reason", "usage_statistics"]);
  });

  test("is listed with its answer", async () => {
    const conversation = await start();
    await say(conversation, "one");
    await say(conversation, "two");
    const messages = await history(conversation, { limit: 2 });
    assert.deepEqual(
      messages.filter((message) => message.message_type === "user_message").map((message) => message.content),
      ["one", "two"],
    );
    assert.equal(text(messages), "okok");
  });

  test("in the background is read again from any frame", async () => {
    const conversation = await start();
    const events = await frames(conversation, { input: "hello", stream_tokens: true, background: true });
    const numbered = events.filter((event) => event.seq_id != null);
    const again = [];
    const stream = await client.conversations.messages.stream(conversation.id, {
      run_id: numbered[0].run_id,
      starting_after: numbered[0].seq_id,
    });
    for await (const event of stream) again.push(event);
    assert.deepEqual(again.map((event) => event.seq_id ?? null), events.slice(1).map((event) => event.seq_id ?? null));
    assert.equal(text(again), "ok");
  });

  test("whose tool runs on this side waits for its return", async () => {
    const conversation = await start();
    const tool = { name: "weather", description: "", parameters: { type: "object", properties: {} } };
    const asked = await say(conversation, "call the tool", { client_tools: [tool] });
    assert.equal(asked.stop_reason.stop_reason, "requires_approval");
    const request = asked.messages.find((message) => message.message_type === "approval_request_message");
    const [{ tool_call_id }] = request.tool_calls;
    const answer = { type: "tool", tool_call_id, tool_return: "sun", status: "success" };
    const reply = await send(conversation, {
      messages: [{ type: "approval", approvals: [answer] }],
      client_tools: [tool],
    });
    assert.equal(text(reply.messages), "ok");
  });

  test("under way is cancelled", async () => {
    const conversation = await start();
    const events = [];
    const body = { input: "wait", stream_tokens: true, background: true };
    for await (const event of await client.conversations.messages.create(conversation.id, body)) {
      events.push(event);
      if (event.message_type === "assistant_message") {
        assert.deepEqual(Object.values(await client.conversations.cancel(conversation.id)), ["cancelled"]);
      }
    }
    assert.equal(events.find((event) => event.message_type === "stop_reason").stop_reason, "cancelled");
    assert.equal(text((await say(conversation, "and now")).messages), "ok");
  });

  test("is refused with the error's status", async () => {
    await assert.rejects(client.conversations.cancel((await start()).id), refused(409));
    await assert.rejects(client.conversations.messages.create("conv-unknown", { input: "hello" }), Letta.APIError);
  });
});

describe("a long conversation", () => {
  test("is forked, and both sides go on alone", async () => {
    const conversation = await start();
    await say(conversation, "one");
    const fork = await client.conversations.fork(conversation.id);
    assert.notEqual(fork.id, conversation.id);
    await say(fork, "two");
    await client.conversations.delete(conversation.id);
    const asked = (await history(fork)).filter((message) => message.message_type === "user_message");
    assert.deepEqual(asked.map((message) => message.content), ["one", "two"]);
  });

  test("is compacted and remembers its summary", async () => {
    const conversation = await start();
    for (const input of ["one", "two", "three", "four"]) await say(conversation, input);
    const compacted = await client.conversations.messages.compact(conversation.id, {
      compaction_settings: { mode: "all" },
    });
    assert.ok(compacted.num_messages_after < compacted.num_messages_before);
    assert.ok(compacted.summary.length > 0);
    assert.equal(text((await say(conversation, "five")).messages), "ok");
  });
});
