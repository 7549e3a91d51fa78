"""Reading a stream over a bare socket, so that a test can let go of it at any byte."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit


def read_stream(url: str, path: str, body: dict[str, Any], *, stop_after: int | None = None) -> bytes:
    """The body of the reply as far as it was read: all of it, or until ``stop_after`` bytes of the body came."""
    address = urlsplit(url)
    payload = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        connection.sendall(head.encode() + payload)
        received = bytearray()
        while data := connection.recv(4096):
            received += data
            if stop_after is not None and len(_body(received)) >= stop_after:
                break
    return bytes(_body(received)[:stop_after])


def frames(stream: bytes) -> list[dict[str, Any]]:
    """The complete frames of a stream that may end anywhere, without the closing ``[DONE]``."""
    blocks = stream.split(b"\n\n")[:-1]
    payloads = [block.partition(b"data: ")[2] for block in blocks]
    return [json.loads(payload) for payload in payloads if payload != b"[DONE]"]


def _body(received: bytearray) -> bytes:
    """What came after the head, unpacked if it came in chunks."""
    head, blank, rest = bytes(received).partition(b"\r\n\r\n")
    if not blank:
        return b""
    assert head.startswith(b"HTTP/1.1 200"), bytes(received)
    return _unchunked(rest) if b"chunked" in head.lower() else rest


def _unchunked(data: bytes) -> bytes:
    body = bytearray()
    while data:
        size, newline, data = data.partition(b"\r\n")
        if not newline or not size or int(size, 16) == 0:
            break
        length = int(size, 16)
        body += data[:length]
        data = data[length + 2 :]
    return bytes(body)
