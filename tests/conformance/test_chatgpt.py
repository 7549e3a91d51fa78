"""A ChatGPT account, from `tertulia login chatgpt` to messages that it pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from click.testing import CliRunner
from letta_client import Letta

from tertulia.cli import main
from tests.conformance.helpers import answer
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.chatgpt_auth import FAR, ChatGPTAuth
from tests.support.responses_endpoint import ChatGPTEndpoint, text
from tests.support.server_process import ForkedServer

if TYPE_CHECKING:
    from pathlib import Path


@requirement("providers.chatgpt-sign-in")
def test_an_account_is_signed_in_to_used_and_renewed(
    tmp_path: Path, environment: dict[str, str], recorder: Recorder
) -> None:
    data_dir = tmp_path / "data"
    with ChatGPTAuth() as auth, ChatGPTEndpoint() as backend:
        auth.confirmed.set()
        auth.expires_at = 1  # long over, so that the first message renews it
        variables = {"CHATGPT_AUTH_BASE_URL": auth.url, "CHATGPT_OAUTH_BASE_URL": backend.url}
        with (
            ForkedServer(data_dir, environment | variables) as server,
            httpx.Client(transport=RecordingTransport(recorder), timeout=20) as transport,
        ):
            client = Letta(base_url=server.url, api_key="unused", http_client=transport, max_retries=0)
            result = CliRunner(env=variables).invoke(main, ["login", "chatgpt", "--url", server.url])
            assert result.exit_code == 0, result.output
            auth.expires_at = FAR
            agent = client.agents.create(model="chatgpt_oauth/gpt-5-mini")
            backend.script(text("paid for"))
            assert answer(client.agents.messages.create(agent.id, input="hello")) == "paid for"
            assert auth.renewed == 1
            assert "gpt-5-mini" in {model.name for model in client.models.list(provider_type="chatgpt_oauth")}

            server.kill()  # the first refresh token is used up, so only the second one can go on
            for path in data_dir.rglob("*"):
                assert path.is_dir() or b"refresh-secret" not in path.read_bytes(), path
            server.start()
            backend.script(text("still paid for"))
            assert answer(client.agents.messages.create(agent.id, input="hello")) == "still paid for"
            assert auth.renewed == 1
            assert "refresh-secret" not in server.log
        assert not backend.violations
