"""A sign-in service such as ChatGPT's, for tests: device codes, and tokens that are good for one renewal."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from tests.support.chatgpt_tokens import jwt

FAR = 4_102_444_800
"""The year 2100, in Unix seconds."""


class ChatGPTAuth:
    """Use as a context manager. ``url`` is the base URL; ``expires_at`` is when the next access tokens end."""

    def __init__(self) -> None:
        self.url = ""
        self.expires_at = FAR
        self.confirmed = threading.Event()
        self.polled = threading.Event()
        self.renewed = 0
        self._refresh_token = ""
        self._lock = threading.Lock()
        self._issued = 0

    def __enter__(self) -> Self:
        auth = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"])).decode()
                is_json = "json" in self.headers["content-type"]
                body = json.loads(raw) if is_json else {name: values[0] for name, values in parse_qs(raw).items()}
                status, reply = auth.answer(self.path, body)
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if path == "/api/accounts/deviceauth/usercode":
                return 200, {"user_code": "ABCD-1234", "device_auth_id": "device-1", "interval": "1"}
            if path == "/api/accounts/deviceauth/token":
                self.polled.set()
                if not self.confirmed.is_set():
                    return 403, {"error": "not yet"}
                return 200, {"authorization_code": "code-1", "code_verifier": "verifier-1"}
            if path == "/oauth/token" and body["grant_type"] == "authorization_code":
                return 200, self.tokens()
            if path == "/oauth/token" and body.get("refresh_token") == self._refresh_token:
                self.renewed += 1
                return 200, self.tokens()
            return 401, {"error": {"code": "refresh_token_reused"}}

    def tokens(self) -> dict[str, Any]:
        """New ones; the refresh token before them is used up."""
        self._issued += 1
        self._refresh_token = f"refresh-secret-{self._issued}"
        account = {"chatgpt_account_id": "account-1", "chatgpt_plan_type": "plus"}
        return {
            "access_token": jwt(exp=self.expires_at, number=self._issued),
            "refresh_token": self._refresh_token,
            "id_token": jwt(email="ann@example.org", **{"https://api.openai.com/auth": account}),
        }
