"""The TypeScript SDK, unmodified, on the machine's Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text
from tests.support.server_process import ForkedServer

if TYPE_CHECKING:
    from tests.support.openai_endpoint import ChatRequest, Reply

HERE = Path(__file__).parent / "typescript"
NODE = shutil.which("node")
MODEL = "openai/gpt-4o-mini"
TIMEOUT = 120.0  # seconds

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="no node on this machine"),
    pytest.mark.skipif(not (HERE / "node_modules").is_dir(), reason="the SDK is not installed: make clients"),
]


def answer(endpoint: OpenAIEndpoint, request: ChatRequest) -> Reply:
    """What smoke.mjs expects of its model."""
    if request.last_user_text == "be late":
        asked = sum(each.last_user_text == "be late" for each in endpoint.requests)
        return text("in time") if asked > 1 else [Pause(Gate())]
    if request.messages[-1]["role"] == "user" and request.last_user_text == "wait":
        return [Send({"content": "begin"}), Pause(Gate())]
    if request.messages[-1]["role"] == "user" and request.last_user_text == "call the tool":
        return calls(call("weather", {}))
    return text("ok")


def test_the_conversation_operations_work_through_the_typescript_sdk(tmp_path: Path) -> None:
    assert NODE is not None
    with OpenAIEndpoint() as endpoint:
        endpoint.answer_with(lambda request: answer(endpoint, request))
        environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": endpoint.url, "TERTULIA_DEFAULT_MODEL": MODEL}
        with ForkedServer(tmp_path / "data", environment) as server:
            ran = subprocess.run(
                [NODE, "--test", "smoke.mjs"],
                cwd=HERE,
                env=os.environ | {"LETTA_BASE_URL": server.url, "MODEL": MODEL},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{server.log}"
        assert not endpoint.violations
