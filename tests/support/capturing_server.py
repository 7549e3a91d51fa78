"""A server that keeps every body posted to it and answers as little as a caller bears. It speaks no dialect."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_REPLY = {"id": "1", "choices": [{"index": 0, "message": {"content": "Noted."}, "finish_reason": "stop"}]}


class CapturingServer:
    """Use as a context manager. ``taken`` gives the bodies posted below a path since the last time it was asked.

    Chat Completions are answered with a whole reply, all others with an error once their body was kept.
    """

    def __init__(self) -> None:
        self._bodies: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="capturing-server", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def keep(self, path: str, body: dict[str, Any]) -> None:
        with self._lock:
            self._bodies.append((path, body))

    def taken(self, path: str) -> list[dict[str, Any]]:
        with self._lock:
            found = [body for came, body in self._bodies if came.startswith(path)]
            self._bodies = [kept for kept in self._bodies if not kept[0].startswith(path)]
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, {"data": []})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
                server.keep(self.path, body)
                chats = "/chat/completions" in self.path
                self._answer(200 if chats else 400, _REPLY if chats else {"error": {"message": "Kept."}})

            def _answer(self, status: int, fields: dict[str, Any]) -> None:
                data = json.dumps(fields).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
                """Say nothing."""

        return Handler
