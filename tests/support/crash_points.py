"""The crash points, each with a real `kill -9`, for whatever a fixture ``crash`` does about it."""

from collections import Counter

import pytest

from tertulia.context.pairing import INTERRUPTED
from tertulia.ports.faults import Point
from tests.support.crashes import Crash, answer
from tests.support.openai_endpoint import OpenAIEndpoint

NEEDS_APPROVAL = {"type": "requires_approval", "tool_name": "append_once"}
APPROVAL = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1", "approve": True}]}

# The point, how often the tool that must not be repeated has its effect, and whether a return says that the call was
# interrupted. The other tool, which may be repeated, always has its effect once, as it is never interrupted here.
POINTS: list[tuple[Point, int, bool]] = [
    ("after_answer_stored", 1, False),
    ("before_model_call", 1, False),
    ("during_stream", 1, False),
    ("before_reply_stored", 1, False),
    ("after_reply_stored", 1, False),
    ("call_noted", 0, True),
    ("during_call", 1, True),
    ("between_calls", 1, False),
    ("before_end_stored", 1, False),
]


class MatteringPoints:
    """To be inherited by a class of tests: what there is to it whoever goes on with a run."""

    @pytest.mark.parametrize(("point", "once", "interrupted"), POINTS)
    def test_a_run_goes_on_after_a_kill(
        self, crash: Crash, endpoint: OpenAIEndpoint, point: Point, once: int, *, interrupted: bool
    ) -> None:
        endpoint.answer_with(answer)
        conversation_id = crash.conversation(crash.agent())
        path = f"/v1/conversations/{conversation_id}/messages"
        crash.dies_of(point, path, {"input": "go", "streaming": False})
        run = crash.run(conversation_id)
        assert (run["status"], run["stop_reason"]) == ("completed", "end_turn")
        history = crash.history(conversation_id)
        returns = [message["tool_return"] for message in history if message["message_type"] == "tool_return_message"]
        assert returns == [INTERRUPTED if interrupted else "appended", "appended"]
        assert [m["content"] for m in history if m["message_type"] == "assistant_message"] == ["all of it is done"]
        assert crash.lines()["append_once a"] == once
        assert crash.lines()["append_again b"] == 1
        after = crash.http.post(path, json={"input": "and now?", "streaming": False})
        assert after.raise_for_status().json()["messages"][-1]["content"] == "fine"

    @pytest.mark.parametrize(("point", "once"), [("call_noted", 0), ("during_call", 1)])
    def test_an_approved_call_is_not_run_twice(
        self, crash: Crash, endpoint: OpenAIEndpoint, point: Point, once: int
    ) -> None:
        conversation_id, path = _asked(crash, endpoint)
        crash.dies_of(point, path, {"messages": [APPROVAL], "streaming": False})
        assert crash.run(conversation_id)["status"] == "completed"
        assert crash.lines()["append_once a"] == once
        history = crash.history(conversation_id)
        returns = [m["tool_return"] for m in history if m["message_type"] == "tool_return_message"]
        assert sorted(returns) == sorted(["appended", INTERRUPTED])

    def test_a_compaction_that_is_killed_leaves_the_conversation_as_it_was(
        self, crash: Crash, endpoint: OpenAIEndpoint
    ) -> None:
        endpoint.answer_with(answer)
        conversation_id = crash.conversation(crash.agent())
        path = f"/v1/conversations/{conversation_id}"
        for question in ("one", "two", "three"):
            crash.http.post(f"{path}/messages", json={"input": question, "streaming": False}).raise_for_status()
        before = crash.history(conversation_id)
        crash.dies_of("during_compaction", f"{path}/compact", {})
        assert crash.run(conversation_id)["status"] == "failed"
        assert crash.history(conversation_id) == before
        crash.http.post(f"{path}/messages", json={"input": "four", "streaming": False}).raise_for_status()


class CrashPoints(MatteringPoints):
    """To be inherited by a class of tests: all of them."""

    def test_a_kill_after_the_end_leaves_nothing_to_do(self, crash: Crash, endpoint: OpenAIEndpoint) -> None:
        endpoint.answer_with(answer)
        conversation_id = crash.conversation(crash.agent())
        path = f"/v1/conversations/{conversation_id}/messages"
        crash.dies_of("after_end_stored", path, {"input": "hello", "streaming": False})
        assert crash.run(conversation_id)["status"] == "completed"
        assert len(endpoint.requests) == 1

    def test_an_approved_call_runs_though_the_server_died_when_it_was_approved(
        self, crash: Crash, endpoint: OpenAIEndpoint
    ) -> None:
        conversation_id, path = _asked(crash, endpoint)
        crash.dies_of("after_answer_stored", path, {"messages": [APPROVAL], "streaming": False})
        assert crash.run(conversation_id)["status"] == "completed"
        assert crash.lines() == Counter({"append_once a": 1, "append_again b": 1})

    def test_a_fork_that_is_killed_happened_whole_or_not_at_all(self, crash: Crash, endpoint: OpenAIEndpoint) -> None:
        endpoint.answer_with(answer)
        agent_id = crash.agent()
        conversation_id = crash.conversation(agent_id)
        path = f"/v1/conversations/{conversation_id}"
        crash.http.post(f"{path}/messages", json={"input": "one", "streaming": False}).raise_for_status()
        crash.dies_of("during_fork", f"{path}/fork", {})
        listed = crash.http.get("/v1/conversations/", params={"agent_id": agent_id}).json()
        assert [each["id"] for each in listed] == [conversation_id]
        forked = crash.http.post(f"{path}/fork").raise_for_status().json()
        assert len(crash.history(forked["id"])) == len(crash.history(conversation_id))


def _asked(crash: Crash, endpoint: OpenAIEndpoint) -> tuple[str, str]:
    """A conversation that waits for an approval, and where to send the answer."""
    endpoint.answer_with(answer)
    conversation_id = crash.conversation(crash.agent(NEEDS_APPROVAL))
    path = f"/v1/conversations/{conversation_id}/messages"
    asked = crash.http.post(path, json={"input": "go", "streaming": False}).raise_for_status().json()
    assert asked["stop_reason"]["stop_reason"] == "requires_approval"
    return conversation_id, path
