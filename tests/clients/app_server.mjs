// Drives `letta server --listen` with the client that Letta Code ships. One JSON command a line comes in; every frame
// of the server goes out as one JSON line.
import { createInterface } from "node:readline";

const [, , clientModule, url] = process.argv;
const { AppServerClient } = await import(clientModule);
const client = await new AppServerClient({ url }).connect();
client.onMessage((frame) => console.log(JSON.stringify(frame)));
for await (const line of createInterface({ input: process.stdin })) client.sendRaw(JSON.parse(line));
client.close();
process.exit(0);
