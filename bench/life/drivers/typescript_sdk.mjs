// The TypeScript SDK as its users call it; what it made of a reply is the reply. SDK is the address of its module.
import { say, told, turns } from "./turns.mjs";

const { default: Letta } = await import(process.env.SDK);
const client = new Letta({ baseURL: told.url, apiKey: "unused", maxRetries: 0 });

let conversation;
for (const turn of turns()) {
  if (turn.begins) conversation = await client.conversations.create({ agent_id: told.agentId });
  const sent = client.conversations.messages.create(conversation.id, turn.body);
  const body = [];
  let response;
  if (turn.streaming) {
    const reply = await sent.withResponse();
    response = reply.response;
    for await (const event of reply.data) body.push(JSON.stringify(event));
  } else {
    // The SDK types every reply of this route as a stream; a blocking one is read from its response.
    response = await sent.asResponse();
    body.push(await response.text());
  }
  say(turn, response.status, response.headers, body);
}
