"""Addresses as they may be shown. Who reads a reply or a log line is not always one who may know a password in them."""

import re
from typing import Final

_LOGIN: Final = re.compile(r"(?<=//)[^/?#\s'\"]*@")
_QUERY: Final = re.compile(r"(?<=\?)[^\s'\"]+")


def without_login(text: str) -> str:
    """The text, with no user or password in any of its addresses."""
    return _LOGIN.sub("***@", text)


def without_secrets(text: str) -> str:
    """The same, and without what follows a question mark: an address that was lent out is signed there."""
    return _QUERY.sub("…", without_login(text))


def without_password(url: str) -> str:
    """What was meant as an address and need not be one, without anything that may be the password in it."""
    return re.sub(r"^([a-z0-9+]*:/*)?.*@", r"\1***@", url)
