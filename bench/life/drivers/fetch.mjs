// Node's own `fetch`, which keeps connections and gives no say in how.
import { say, told, turns } from "./turns.mjs";

const post = (path, body) =>
  fetch(told.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

let conversation;
for (const turn of turns()) {
  if (turn.begins) conversation = await (await post(`/v1/conversations/?agent_id=${told.agentId}`, {})).json();
  const reply = await post(`/v1/conversations/${conversation.id}/messages`, turn.body);
  say(turn, reply.status, reply.headers, [await reply.text()]);
}
