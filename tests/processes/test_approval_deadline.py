"""A server that is killed while a call waits for its approval: when it is started again, the deadline is over."""

from pathlib import Path

import httpx

from tests.support.crash_points import NEEDS_APPROVAL
from tests.support.crashes import FAULTY, MODEL, answer, environment_of
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ForkedServer


def test_a_call_that_nobody_approved_in_time_is_denied_by_the_server_that_is_started_next(tmp_path: Path) -> None:
    agent = {"name": "Ada", "model": MODEL, "tools": ["append_once", "append_again"], "tool_rules": [NEEDS_APPROVAL]}
    with OpenAIEndpoint() as endpoint:
        endpoint.answer_with(answer)
        environment = environment_of(endpoint, tmp_path / "effects", tmp_path / "fault")
        environment["TERTULIA_APPROVAL_DEADLINE"] = "1"
        with (
            ForkedServer(tmp_path / "data", environment, module=FAULTY) as server,
            httpx.Client(base_url=server.url, timeout=30) as http,
        ):
            path = f"/v1/agents/{http.post('/v1/agents/', json=agent).raise_for_status().json()['id']}/messages"
            asked = http.post(path, json={"input": "go", "streaming": False}).raise_for_status().json()
            assert asked["stop_reason"]["stop_reason"] == "requires_approval"
            server.kill()
            server.start()
            path = path.replace("/v1/agents", "/v1/conversations")
            while http.get(path.replace("/messages", "/approvals")).raise_for_status().json():
                """It looks every second, as so much time is given."""
            (denied,) = [
                each
                for each in http.get(path).raise_for_status().json()
                if each["message_type"] == "tool_return_message" and each["tool_call_id"] == "call_1"
            ]
            assert denied["status"] == "error"
            assert "No answer came" in denied["tool_return"]
            assert endpoint.requests[1:] == []
