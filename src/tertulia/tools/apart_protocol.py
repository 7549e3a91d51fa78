"""What a process and the child that works for it say to each other: length-prefixed frames on the child's pipes."""

from collections.abc import Sequence
from typing import IO, Any, Final

import msgspec

from tertulia.ports.apart import WorkName

_LENGTH_BYTES: Final = 4


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one piece of work may take: processor time, time on the clock, and memory in bytes.

    An honest page of a megabyte takes three seconds and 150 MB.
    """

    cpu_seconds: int = 10
    seconds: float = 30.0
    memory: int = 1024 * 1024 * 1024


class Job(msgspec.Struct, frozen=True):
    work: WorkName
    arguments: list[Any]  # texts and bytes, which MessagePack tells apart


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job. A child that says ``last`` does no other."""

    value: Any = None
    failure: str | None = None
    last: bool = False


_encoder: Final = msgspec.msgpack.Encoder()
_job: Final = msgspec.msgpack.Decoder(Job)
_done: Final = msgspec.msgpack.Decoder(Done)


def encode_job(work: WorkName, arguments: Sequence[str | bytes]) -> bytes:
    return _encoder.encode(Job(work, list(arguments)))


def decode_job(data: bytes) -> Job:
    return _job.decode(data)


def encode_done(done: Done) -> bytes:
    return _encoder.encode(done)


def decode_done(data: bytes) -> Done:
    return _done.decode(data)


def send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """The next frame; None at the end of the pipe, or if it breaks off."""
    length = pipe.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    expected = int.from_bytes(length, "big")
    data = pipe.read(expected)
    return data if len(data) == expected else None
