"""The type of an image is told by its bytes."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tertulia.domain.images import has_image, image_bytes, remote_images
from tertulia.domain.messages import Base64Image, Message, StoredImage, ToolReturnPart, UrlImage

KINDS = {
    "image/png": b"\x89PNG\r\n\x1a\n....",
    "image/jpeg": b"\xff\xd8\xff\xe0..JFIF....",
    "image/gif": b"GIF89a......",
    "image/webp": b"RIFF....WEBPVP8 ",
    "image/heic": b"\0\0\0\x18ftypheic....",
}


@pytest.mark.parametrize("media_type", KINDS)
def test_an_image_has_the_type_of_its_bytes_whatever_is_said_of_it(media_type: str) -> None:
    data = b64encode(KINDS[media_type]).decode()
    said = "image/gif" if media_type != "image/gif" else "image/png"
    for source in (
        Base64Image(said, data),
        StoredImage("file-1", None, data),
        UrlImage(f"data:{said};charset=x;base64,{data}"),
    ):
        assert image_bytes(source, {}) == Base64Image(media_type, data)


@pytest.mark.parametrize("data", ["QUJD", "", "*", "A", "AAAAAAAAAAAAAAAAAAAA"])
def test_where_the_bytes_tell_nothing_it_is_what_is_said_under_its_proper_name(data: str) -> None:
    for said, meant in (("image/jpg", "image/jpeg"), ("IMAGE/PNG; q=1", "image/png"), ("image/x", "image/x")):
        assert image_bytes(Base64Image(said, data), {}) == Base64Image(meant, data)


class _Text(str):
    """One that is not to be looked at character by character."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError


def test_what_a_tool_returned_as_text_is_not_looked_through_for_images() -> None:
    part = ToolReturnPart(tool_call_id="call-1", name="fetch_webpage", content=_Text("long"))
    message = Message(
        id="message-1",
        agent_id="agent-1",
        conversation_id="conv-1",
        role="tool",
        content=(part,),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert not has_image(message)
    assert list(remote_images(message)) == []
