"""Python's `http.client`: all replies on one connection."""

import http.client
import json
from typing import cast
from urllib.parse import urlsplit

from bench.life.drivers.turns import Told, say


def main() -> None:
    told = Told.by_arguments()
    connection = http.client.HTTPConnection(urlsplit(told.url).netloc, timeout=60)
    conversation = ""
    for turn in told.turns():
        if turn.begins:
            reply, text = _asked(connection, f"/v1/conversations/?agent_id={told.agent_id}", {})
            conversation = cast("dict[str, str]", json.loads(text))["id"]
        reply, text = _asked(connection, f"/v1/conversations/{conversation}/messages", turn.body)
        say(turn, reply.status, reply.getheaders(), [text])
    connection.close()


def _asked(
    connection: http.client.HTTPConnection, path: str, body: dict[str, object]
) -> tuple[http.client.HTTPResponse, str]:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    return reply, reply.read().decode()


if __name__ == "__main__":
    main()
