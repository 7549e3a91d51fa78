"""AWS's Signature Version 4, computed from a request as it came, to see whether it was signed as it is."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from urllib.parse import quote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/(?P<scope>[^,]+), SignedHeaders=(?P<names>[^,]+), Signature=(?P<made>\w+)"
)


def find_flaw(method: str, path: str, headers: dict[str, str], content: bytes, secret: str) -> str | None:
    """What is wrong with the request's signature; None when it is the one that the secret key makes."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        return "Missing Authentication Token"
    names = found["names"].split(";")
    if "host" not in names or "x-amz-date" not in names:
        return "The request signature must cover host and x-amz-date"
    bare_path, _, query = path.partition("?")
    canonical = "\n".join(
        (
            method,
            quote(bare_path, safe="/~"),  # what is escaped already is escaped again, as of all services but S3
            query,
            *(f"{name}:{headers.get(name, '').strip()}" for name in names),
            "",
            found["names"],
            sha256(content).hexdigest(),
        )
    )
    digest = sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], found["scope"], digest))
    key = f"AWS4{secret}".encode()
    for part in found["scope"].split("/"):
        key = hmac.new(key, part.encode(), sha256).digest()
    made = hmac.new(key, to_sign.encode(), sha256).hexdigest()
    return None if hmac.compare_digest(made, found["made"]) else "The request signature does not match"
