"""The Python SDK, `letta-client`, as its users call it; what it made of a reply is the reply."""

from collections.abc import Iterable
from typing import Any, cast

from letta_client import Letta

from bench.life.drivers.turns import TEXT, Told, say


def main() -> None:
    told = Told.by_arguments()
    with Letta(base_url=told.url, api_key="unused", max_retries=0) as client:
        conversation = ""
        messages = client.conversations.messages.with_raw_response
        for turn in told.turns():
            if turn.begins:
                conversation = client.conversations.create(agent_id=told.agent_id).id
            reply = messages.create(conversation, input=TEXT, streaming=turn.streaming, stream_tokens=turn.streaming)
            # The SDK types every reply of this route as a stream; a blocking one is read from its response.
            if turn.streaming:
                events = cast("Iterable[Any]", reply.parse())
                body = [cast("str", event.model_dump_json()) for event in events]
            else:
                body = [reply.text()]
            say(turn, reply.status_code, reply.headers.multi_items(), body)


if __name__ == "__main__":
    main()
