"""What the head of a GGUF file says of its model. Reads a few kilobytes; the weights are never touched.

A file begins with ``GGUF``, a version, a number of tensors and a number of key-value pairs, and then the pairs. The
ones wanted here stand before the tokenizer's tables of many thousand words, so reading stops as soon as they are in.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LONGEST_STRING: Final = 1 << 20
_MOST_PAIRS: Final = 1 << 16

_Scalar: TypeAlias = str | int | float | bool


class NotGguf(ValueError):
    """The file is not a GGUF model that can be read. The message says why."""


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """``context_length`` is what the model was trained with, in tokens, None if the file does not tell.

    ``parameters`` is the number of weights, reckoned from the shape of the network where the file tells it.
    """

    architecture: str
    display_name: str | None
    context_length: int | None
    parameters: int | None


def read_facts(path: Path) -> GgufFacts:
    """What the file says of itself.

    :raises NotGguf: if the file is damaged, of another format, or a part of a model without a network.
    :raises OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            pairs = _pairs(file)
        except (struct.error, UnicodeDecodeError) as error:
            raise NotGguf(f"{path.name} is cut off or damaged") from error
    architecture = str(pairs.get("general.architecture", ""))
    if f"{architecture}.block_count" not in pairs:
        raise NotGguf(f"{path.name} holds no language model")
    name = pairs.get("general.name")
    return GgufFacts(
        architecture=architecture,
        display_name=name if isinstance(name, str) and name else None,
        context_length=_whole(pairs, f"{architecture}.context_length"),
        parameters=_parameters(pairs, architecture),
    )


def _pairs(file: BinaryIO) -> dict[str, _Scalar]:
    """The pairs before the first long table."""
    if file.read(4) != _MAGIC:
        raise NotGguf(f"{Path(file.name).name} is not a GGUF file")
    version, _tensors, count = struct.unpack("<IQQ", file.read(20))
    if version not in _VERSIONS or count > _MOST_PAIRS:
        raise NotGguf(f"{Path(file.name).name} is of GGUF version {version}, which is not known here")
    pairs: dict[str, _Scalar] = {}
    for _ in range(count):
        key = _string(file)
        kind = _number(file, "I")
        if kind == _ARRAY:
            of, length = _number(file, "I"), _number(file, "Q")
            if key == "tokenizer.ggml.tokens":
                pairs[key] = length
                break
            _skip(file, of, length)
        else:
            pairs[key] = _string(file) if kind == _STRING else _number(file, _code(file, kind))
    return pairs


def _skip(file: BinaryIO, of: int, length: int) -> None:
    if of == _STRING:
        for _ in range(length):
            _string(file)
    else:
        file.seek(length * struct.calcsize("<" + _code(file, of)), 1)


def _code(file: BinaryIO, kind: int) -> str:
    if kind not in _SCALARS:
        raise NotGguf(f"{Path(file.name).name} is damaged: it contains a value of an unknown type")
    return _SCALARS[kind]


def _string(file: BinaryIO) -> str:
    length = _number(file, "Q")
    if length > _LONGEST_STRING:
        raise NotGguf(f"{Path(file.name).name} is cut off or damaged")
    raw = file.read(length)
    if len(raw) < length:
        raise NotGguf(f"{Path(file.name).name} is cut off or damaged")
    return raw.decode()


def _number(file: BinaryIO, code: str) -> int:
    """One little-endian scalar; floats pass through as they are."""
    size = struct.calcsize("<" + code)
    (value,) = struct.unpack("<" + code, file.read(size))
    return value


def _whole(pairs: dict[str, _Scalar], key: str) -> int | None:
    value = pairs.get(key)
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _parameters(pairs: dict[str, _Scalar], architecture: str) -> int | None:
    """Embeddings, and per block the attention and the three matrices of the feed-forward network (per expert)."""
    blocks, width, hidden = (
        _whole(pairs, f"{architecture}.{key}") for key in ("block_count", "embedding_length", "feed_forward_length")
    )
    if not blocks or not width or not hidden:
        return None
    words = _whole(pairs, "tokenizer.ggml.tokens") or _whole(pairs, f"{architecture}.vocab_size") or 0
    heads = _whole(pairs, f"{architecture}.attention.head_count") or 1
    shared_heads = _whole(pairs, f"{architecture}.attention.head_count_kv") or heads
    experts = _whole(pairs, f"{architecture}.expert_count") or 1
    attention = 2 * width * width + 2 * width * width * shared_heads // heads
    return words * width + blocks * (attention + 3 * width * hidden * experts)
