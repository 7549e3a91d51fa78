"""Models that run inside the server: the embedded one and the user's GGUF files. No network, no key."""

from tertulia.providers.local.provider import LocalProvider

__all__ = ["LocalProvider"]
