"""Fetching images: of the types that models take, by what they are, and none too large."""

from base64 import b64encode

import pytest

from tertulia.domain.messages import Base64Image
from tertulia.ports.images import ImageUnavailable
from tertulia.tools.image_fetcher import GuardedImages
from tests.support.raw_http import Hang, RawServer, Step, response

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n rest", "image/png"),
        (b"\xff\xd8\xff\xe0 rest", "image/jpeg"),
        (b"GIF89a rest", "image/gif"),
        (b"GIF87a rest", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 rest", "image/webp"),
    ],
)
async def test_an_images_type_is_that_of_its_bytes_whatever_the_server_says(body: bytes, media_type: str) -> None:
    async with RawServer(response(200, body, content_type="application/octet-stream")) as server:
        found = await GuardedImages(allow_private_addresses=True).fetch(server.url)
        assert found == Base64Image(media_type, b64encode(body).decode())
        assert server.requests[0].headers["accept"] == "image/*"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (response(200, b"<html>", content_type="image/png"), "is no PNG, JPEG, GIF or WebP image"),
        (response(200, b"", content_type="image/png"), "is no PNG"),
        (response(200, b"RIFF....WAVE", content_type="image/webp"), "is no PNG"),
        (response(200, b"\x89PNG\r\n\x1a\n" + b"x" * 2000), "is longer than 1000 bytes"),
        (response(404, b""), "status 404"),
        ([Hang()], "did not answer in 0.1 seconds"),
    ],
    ids=["html", "empty", "sound", "large", "missing", "silent"],
)
async def test_what_is_no_image_is_said_to_be_none(reply: list[Step], said: str) -> None:
    images = GuardedImages(allow_private_addresses=True, max_bytes=1000, seconds=0.1 if said.startswith("did") else 15)
    async with RawServer(reply) as server:
        with pytest.raises(ImageUnavailable, match=said):
            await images.fetch(server.url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.png", "http://[::1]:9/a.png", "http://169.254.169.254/x"])
async def test_an_address_of_this_network_is_refused(url: str) -> None:
    with pytest.raises(ImageUnavailable, match="not a host of the public internet"):
        await GuardedImages().fetch(url)
