"""An opening that all prompts share, read once and copied into every slot of a loaded model.

Reading 300 tokens takes two seconds on one thread, and each slot would read them for itself. The runtime copies the
state of a slot only through files and its own socket, so this is done while the model loads and the socket exists.
"""

import http.client
import json
import socket
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT: Final = 60.0
_FILE: Final = "opening"


class OpeningFailed(Exception):
    """The runtime would not copy the state. The model works without, its first replies just come later."""


def copy_opening(server: Any, body: bytes, slots: int, api_key: str) -> None:
    """Have the model read ``body``'s prompt, and put what it made of it into all slots.

    :raises OpeningFailed: if the runtime refuses.
    """
    server.handle_chat_completions(body, ignored)
    if slots == 1:
        return
    connection = _connect(server.listening_address)
    try:
        _act(connection, 0, "save", api_key)
        for slot in range(1, slots):
            _act(connection, slot, "restore", api_key)
    except (OSError, http.client.HTTPException) as error:
        raise OpeningFailed(str(error)) from error
    finally:
        connection.close()


def ignored(_chunk: bytes) -> bool:
    """A callback for replies that nobody wants; false lets the model go on."""
    return False


def _act(connection: http.client.HTTPConnection, slot: int, action: str, api_key: str) -> None:
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    connection.request("POST", f"/slots/{slot}?action={action}", json.dumps({"filename": _FILE}), headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.client.OK:
        raise OpeningFailed(f"{action} of slot {slot}: {response.status} {answer.decode(errors='replace')}")


def _connect(address: str) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return _SocketFile(parts.path)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_TIMEOUT)


class _SocketFile(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)
