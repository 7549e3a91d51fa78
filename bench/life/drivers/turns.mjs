// What the clients on Node share: their arguments, which reply comes next, and the lines they write; see turns.py.
import { writeSync } from "node:fs";

const MESSAGES_IN_A_CONVERSATION = 20;

const [url, agentId, streams, plain] = process.argv.slice(2);
export const told = { url, agentId, streams: Number(streams), plain: Number(plain) };

export function* turns() {
  let sent = 0;
  for (let number = 0; number < Math.max(told.streams, told.plain); number++) {
    for (const [streaming, wanted] of [[true, told.streams], [false, told.plain]]) {
      if (number >= wanted) continue;
      const body = { input: "What did we say about the lamp by the door?", streaming, stream_tokens: streaming };
      yield { streaming, body, begins: sent % MESSAGES_IN_A_CONVERSATION === 0 };
      sent += 1;
    }
  }
}

export function say(turn, status, headers, body) {
  let line = Buffer.from(JSON.stringify([turn.streaming ? "stream" : "plain", status, [...headers], body]) + "\n");
  while (line.length) {
    try {
      line = line.subarray(writeSync(1, line));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error; // the pipe is full
    }
  }
}
