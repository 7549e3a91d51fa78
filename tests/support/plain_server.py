"""An HTTP server that is no model's: every GET has the same answer."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def answering(status: int, body: object, wanted_key: str | None = None) -> Generator[str]:
    """An HTTP server on loopback that gives every GET the same answer, 401 without the key; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            refused = wanted_key is not None and self.headers["Authorization"] != f"Bearer {wanted_key}"
            data = json.dumps(body).encode()
            self.send_response(401 if refused else status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
