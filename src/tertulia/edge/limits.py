"""What one connection may take of the server, in bytes and in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``request_seconds`` is for the head of a request, and for its body beyond the time that its bytes need.

    ``idle_seconds`` is how long a connection is kept between requests. ``reader_seconds`` is how long a reader may take
    nothing of the reply that waits for it. No limit touches a reply that is being made, however long it is silent.
    """

    max_header_bytes: int = 64 * 1024
    max_headers: int = 128
    request_seconds: float = 30
    idle_seconds: float = 75
    reader_seconds: float = 60
    linger_seconds: float = 30
    max_connections: int = 10_000
    slowest_bytes_per_second: int = 10_000
    """A body, or the reader of a reply, gets a second more for each so many bytes."""

    @property
    def max_target_bytes(self) -> int:
        """Of the address in the request line."""
        return self.max_header_bytes // 2
