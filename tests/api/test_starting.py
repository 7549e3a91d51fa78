"""What is answered while the server cannot do anything yet, or for now."""

from pathlib import Path

import pytest

from tertulia.api.errors import error_response
from tertulia.app import create_app
from tertulia.settings import Settings
from tests.support.asgi import Exchange

pytestmark = pytest.mark.anyio


async def test_a_server_that_is_starting_says_when_to_come_again(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    for path in ("/v1/health/ready", "/v1/health", "/v1/agents/"):
        reply = await Exchange(app, "GET", path).end()
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")


def test_every_503_says_when_to_come_again() -> None:
    assert error_response(503, "Not now.").headers["retry-after"] == "2"
    assert error_response(503, "Not now.", {"retry-after": "9"}).headers["retry-after"] == "9"
    assert "retry-after" not in error_response(500, "No.").headers
