"""Exact token counts in OpenAI's ``o200k_base`` encoding, from ranks that come with the package.

Loading takes 0.25 s and 55 MB, so nothing loads it before a count is needed that an estimate cannot stand in for.
"""

import lzma
from binascii import a2b_base64
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiktoken import Encoding

RANKS_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_RANKS_FILE: Final = "o200k_base.tiktoken.xz"
_SPECIAL: Final = {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}
_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
# How the encoding cuts text into words before it merges bytes; part of its definition, like the ranks.
_PATTERN: Final = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_ENDINGS}",
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_ENDINGS}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_PIECE: Final = 50_000  # characters
_loading: Final = Lock()


class DamagedData(RuntimeError):
    """A file of the installed package is not what was published."""


def count_tokens(text: str) -> int:
    """How many tokens the text has. The first call loads the encoding; 135 µs per 1,000 characters after that.

    A text is counted in pieces, which can make one token more of each cut: the encoding's expression gives up, with a
    panic, on very long ones without a word's end.

    :raises DamagedData: if the installed ranks are not the published ones.
    """
    with _loading:  # two threads would otherwise load it twice
        encoding = _encoding()
    if len(text) <= _PIECE:
        return len(encoding.encode_ordinary(text))
    return sum(len(encoding.encode_ordinary(text[at : at + _PIECE])) for at in range(0, len(text), _PIECE))


def checked_ranks(compressed: bytes) -> bytes:
    """The ranks file, decompressed.

    :raises DamagedData: if it is not the published one.
    """
    try:
        ranks = lzma.decompress(compressed)
    except lzma.LZMAError as error:
        raise DamagedData(f"{_RANKS_FILE} cannot be read; install the package again") from error
    if sha256(ranks).hexdigest() != RANKS_SHA256:
        raise DamagedData(f"{_RANKS_FILE} does not have its published hash; install the package again")
    return ranks


@cache
def _encoding() -> "Encoding":
    from tiktoken import Encoding  # noqa: PLC0415  13 ms and 4 MB that a server which never counts does not spend

    packed = resources.files("tertulia.context").joinpath("data", _RANKS_FILE).read_bytes()
    fields = checked_ranks(packed).split()
    encoding = Encoding(
        "o200k_base",
        pat_str=_PATTERN,
        mergeable_ranks=_ranks(fields),
        special_tokens=_SPECIAL,
    )
    encoding._mergeable_ranks = {}  # noqa: SLF001  a second copy of the ranks, 25 MB, that counting does not use
    return encoding


def _ranks(fields: Sequence[bytes]) -> dict[bytes, int]:
    """The rank of each token; made in a loop, which other threads interrupt, where one call would hold them all up."""
    ranks: dict[bytes, int] = {}
    for token, rank in zip(fields[::2], fields[1::2], strict=True):
        ranks[a2b_base64(token)] = int(rank)
    return ranks
