"""What encoders keep of a history: the encoded messages, within a bound."""

from collections import OrderedDict
from typing import Final

ENTRY_BYTES: Final = 320
"""What a kept message takes beside its encoded bytes: the id, two objects' heads, a place in the order."""


class FragmentCache:
    """Encoded messages by id, the least recently used thrown out first, bounded by the memory they take."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._fragments: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fragments)

    def get(self, message_id: str) -> bytes | None:
        fragment = self._fragments.get(message_id)
        if fragment is not None:
            self._fragments.move_to_end(message_id)
        return fragment

    def put(self, message_id: str, fragment: bytes) -> None:
        if len(fragment) > self._max_bytes // 8:  # a few large images would throw out everything else
            return
        before = self._fragments.pop(message_id, None)
        if before is not None:
            self._bytes -= len(before) + ENTRY_BYTES
        self._fragments[message_id] = fragment
        self._bytes += len(fragment) + ENTRY_BYTES
        while self._bytes > self._max_bytes:
            _, dropped = self._fragments.popitem(last=False)
            self._bytes -= len(dropped) + ENTRY_BYTES
