"""The readers of JSON in pieces, for the embedded model's replies."""

from tertulia.domain.json_stream import JsonString, JsonText

__all__ = ["JsonString", "JsonText"]
