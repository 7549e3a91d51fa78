"""What encoders keep of a history: the encoded messages, within a bound."""

from typing import Final

from tertulia.domain.recent import Recent

ENTRY_BYTES: Final = 250
"""What a kept message takes beside its encoded bytes: the id, two objects' heads, a place in a dictionary."""


class FragmentCache(Recent[bytes]):
    """Encoded messages by id, bounded by the memory they take."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, lambda fragment: len(fragment) + ENTRY_BYTES)

    def put(self, key: str, value: bytes) -> None:
        if len(value) <= self.most // 8:  # a few large images would throw out everything else
            super().put(key, value)
