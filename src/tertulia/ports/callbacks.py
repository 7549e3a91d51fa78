"""Where callbacks go out: one HTTP request at a time, signed by whoever sends it."""

from collections.abc import Mapping
from typing import Protocol

from tertulia.domain.errors import TertuliaError


class CallbackFailed(TertuliaError):
    """No answer came back from the address of a callback. ``final`` says that trying again would change nothing."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class CallbackSender(Protocol):
    def check(self, url: str) -> None:
        """Say whether callbacks may be sent to such an address, as far as it tells by itself.

        :raises InvalidArgument: if it is no http(s) address, or one of this machine or a private network.
        """
        ...

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post the body; the status of the answer. Redirects are not followed.

        :raises CallbackFailed: if there is none.
        """
        ...
