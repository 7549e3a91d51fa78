"""The Letta Code CLI, unmodified: its turns, its tools on this side, its conversations, against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.clients.letta_code import COMMAND, LettaCode
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text, usage
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.openai_endpoint import ChatRequest, Reply

pytestmark = pytest.mark.skipif(COMMAND is None, reason="Letta Code is not installed: make clients")


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(shared_endpoint: OpenAIEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": shared_endpoint.url,
        "TERTULIA_DEFAULT_MODEL": "openai/gpt-4o-mini",
    }
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", environment) as server:
        yield server


@pytest.fixture
def endpoint(shared_endpoint: OpenAIEndpoint) -> Iterator[OpenAIEndpoint]:
    shared_endpoint.reset()
    yield shared_endpoint
    assert not shared_endpoint.violations


@pytest.fixture
def letta(server: ServerProcess, tmp_path: Path) -> LettaCode:
    """A fresh installation of the CLI, in a project with one file."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    (project / "hello.txt").write_text("bonjour\n")
    return LettaCode(home, project, server)


def shell(command: str, call_id: str = "call_1") -> tuple[str, str, str]:
    """A call of the tool with which the CLI lets OpenAI's models run commands."""
    return call("exec_command", {"cmd": command, "description": "a command"}, call_id)


def spoken(request: ChatRequest) -> str:
    """All that was said in a conversation, as its model sees it."""
    return "\n".join(json.dumps(message["content"]) for message in request.messages if message["role"] != "system")


def test_a_turn_with_tool_calls_of_the_client_finishes(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    patch = "*** Begin Patch\n*** Update File: hello.txt\n@@\n-bonjour\n+salut\n*** End Patch\n"
    endpoint.script(
        calls(shell("cat hello.txt", "call_1"), shell("echo $((6 * 7))", "call_2"), say="I look."),
        calls(call("ApplyPatch", {"input": patch}, "call_3")),
        text("It said bonjour, now it says ", "salut."),
    )
    told = letta.ask("Make it say salut.", "--yolo")
    assert told["result"].endswith("It said bonjour, now it says salut.")
    assert told["usage"]["step_count"] == 3
    assert (letta.project / "hello.txt").read_text() == "salut\n"
    first, _, last = endpoint.requests
    assert {"exec_command", "ApplyPatch", "web_search", "fetch_webpage"} <= set(first.tool_names)
    assert "bonjour" in last.tool_results["call_1"]
    assert "42" in last.tool_results["call_2"]
    assert "hello.txt" in last.tool_results["call_3"]


def test_a_provider_is_connected_changed_and_used(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    for key in ("sk-first", "sk-second"):
        ran = letta.run("connect", "openai-compatible", "--base-url", endpoint.url, "--api-key", key)
        assert (ran.returncode, "Connected" in ran.stdout) == (0, True), ran
    endpoint.script(text("by another key"))
    told = letta.ask("Say something.", "--new-agent", "--model", "lc-openai-compatible/gpt-4o-mini")
    assert told["result"] == "by another key"
    assert endpoint.requests[0].headers["authorization"] == "Bearer sk-second"


def test_tools_of_both_sides_can_be_called_at_once(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(
        calls(
            call("web_search", {"query": "bees"}, "call_1"),
            shell("cat hello.txt", "call_2"),
            call("fetch_webpage", {"url": endpoint.url}, "call_3"),
        ),
        text("Only the file."),
    )
    assert letta.ask("Look everywhere.", "--yolo")["result"] == "Only the file."
    results = endpoint.requests[-1].tool_results
    assert "EXA_API_KEY" in results["call_1"]
    assert "bonjour" in results["call_2"]
    assert "not a host of the public internet" in results["call_3"]


def test_a_later_call_with_the_conversation_remembers(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(calls(shell("cat hello.txt")), text("It says bonjour."))
    conversation = letta.ask("What does hello.txt say?", "--yolo")["conversation_id"]
    endpoint.script(text("You asked what hello.txt says."))
    told = letta.run("-p", "What did I ask?", "--conv", conversation)
    assert told.stdout.strip() == "You asked what hello.txt says."
    remembered = spoken(endpoint.requests[-1])
    for earlier in ("What does hello.txt say?", "bonjour", "It says bonjour.", "What did I ask?"):
        assert earlier in remembered


def test_a_conversation_whose_client_died_in_a_tool_call_goes_on(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    conversation = letta.ask("Hello.")["conversation_id"]
    started, end = letta.project / "started", letta.project / "end"
    os.mkfifo(started)
    os.mkfifo(end)
    endpoint.script(calls(shell("echo now > started; cat end")), text("It never ended."))
    with letta.start("-p", "Wait for the end.", "--conv", conversation, "--yolo") as client:
        assert started.read_text() == "now\n"
        os.killpg(client.pid, signal.SIGKILL)
    try:
        assert letta.ask("What now?", "--conv", conversation)["result"] == "It never ended."
        assert "call_1" in endpoint.requests[-1].tool_results
    finally:
        with contextlib.suppress(OSError):  # the command may outlive its client, and waits for somebody to write
            os.close(os.open(end, os.O_WRONLY | os.O_NONBLOCK))


def test_a_model_is_chosen_for_a_conversation(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    conversation = letta.ask("Hello.")["conversation_id"]
    assert endpoint.requests[-1].body["model"] == "gpt-4o-mini"
    letta.ask("Think harder.", "--conv", conversation, "-m", "openai-proxy/gpt-5-mini")
    assert endpoint.requests[-1].body["model"] == "gpt-5-mini"
    letta.ask("Whatever you have.", "--new-agent", "-m", "letta/auto")
    assert endpoint.requests[-1].body["model"] == "gpt-4o-mini"


def test_another_agent_has_other_conversations(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    first = letta.ask("I am Ada.")
    second = letta.ask("I am Bob.", "--new-agent")
    assert second["agent_id"] != first["agent_id"]
    assert "Ada" not in spoken(endpoint.requests[-1])
    letta.ask("Who am I?", "--conv", "default", "--agent", first["agent_id"])
    assert "Bob" not in spoken(endpoint.requests[-1])


def test_what_was_said_can_be_read_and_found(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(text("They fly."))
    told = letta.ask("Tell me of xylophages.")
    transcript = json.loads(letta.run("messages", "transcript", "--conversation", told["conversation_id"]).stdout)
    assert "Tell me of xylophages." in transcript["transcript"]
    assert "They fly." in transcript["transcript"]
    found = json.loads(letta.run("messages", "search", "--query", "xylophages", "--all-agents").stdout)
    assert [message["conversation_id"] for message in found] == [told["conversation_id"]]


def test_a_conversation_is_forked_and_each_side_goes_on_alone(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    conversation = letta.ask("The word is heron.")["conversation_id"]
    with letta.app_server() as app:
        fork = app.ask("conversation_fork", conversation_id=conversation)["conversation"]["id"]
    letta.ask("The other word is crane.", "--conv", fork)
    assert "heron" in spoken(endpoint.requests[-1])
    letta.ask("Which words?", "--conv", conversation)
    assert "heron" in spoken(endpoint.requests[-1])
    assert "crane" not in spoken(endpoint.requests[-1])


def test_a_conversation_is_compacted_and_its_summary_remembered(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    conversation = letta.ask("The word is heron.")["conversation_id"]
    letta.ask("Say nothing more of it.", "--conv", conversation)
    endpoint.script(text("A word was agreed on: HERON."))
    with letta.app_server() as app:
        done = app.ask(
            "conversation_compact",
            conversation_id=conversation,
            body={"compaction_settings": {"mode": "all", "model": "letta/auto"}},
        )["compaction"]
    assert done["num_messages_after"] < done["num_messages_before"]
    letta.ask("Which word?", "--conv", conversation)
    assert "HERON" in spoken(endpoint.requests[-1])
    assert "The word is heron." not in spoken(endpoint.requests[-1])


def test_a_full_context_is_compacted_on_the_way(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    # A model of its own: from this usage the server learns how the model counts, for all of its conversations.
    endpoint.script(text("Noted.", usage=usage(prompt=127_900)))
    conversation = letta.ask("The word is heron.", "-m", "openai-proxy/gpt-4o")["conversation_id"]
    endpoint.script(text("A word was agreed on: HERON."), text("It is heron."))
    assert letta.ask("Which word?", "--conv", conversation)["result"] == "It is heron."
    assert "HERON" in spoken(endpoint.requests[-1])
    assert "The word is heron." not in spoken(endpoint.requests[-1])


def test_a_turn_is_cancelled_and_the_next_one_answered(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    told = letta.ask("Hello.")
    runtime = {"agent_id": told["agent_id"], "conversation_id": told["conversation_id"]}
    gate = Gate()
    endpoint.script([Send({"content": "Once upon a time"}), Pause(gate)], text("Gladly."))
    with letta.app_server() as app:
        app.ask("runtime_start", runtime=runtime, **runtime)
        message = {"role": "user", "content": "Tell me a long story."}
        app.ask("input", runtime=runtime, payload={"kind": "create_message", "messages": [message]})
        gate.wait_reached()
        assert app.ask("abort_message", runtime=runtime)["aborted"]
        assert app.wait_for("turn_finished")["stop_reason"] == "cancelled"
        assert endpoint.requests[-1].left.wait(15), "the model goes on"
    assert letta.ask("Stop there.", "--conv", told["conversation_id"])["result"] == "Gladly."


def test_the_tools_for_other_models_work_too(letta: LettaCode, endpoint: OpenAIEndpoint) -> None:
    told = letta.ask("Hello.")
    runtime = {"agent_id": told["agent_id"], "conversation_id": told["conversation_id"]}
    file = str(letta.project / "hello.txt")
    edit = {"file_path": file, "old_string": "bonjour", "new_string": "salut"}
    replies: list[Reply] = [
        calls(
            call("Read", {"file_path": file}, "call_1"), call("Bash", {"command": "ls", "description": "-"}, "call_2")
        ),
        calls(call("Edit", edit, "call_3")),
        text("Done."),
    ]
    endpoint.script(*replies)
    with letta.app_server() as app:
        app.ask("runtime_start", runtime=runtime, **runtime, mode="unrestricted")
        payload = {
            "kind": "create_message",
            "messages": [{"role": "user", "content": "Make it say salut."}],
            "client_toolset": {"base": "default"},
        }
        app.ask("input", runtime=runtime, payload=payload)
        assert app.wait_for("turn_finished")["stop_reason"] == "end_turn"
    assert (letta.project / "hello.txt").read_text() == "salut\n"
    results = endpoint.requests[-1].tool_results
    assert "bonjour" in results["call_1"]
    assert "hello.txt" in results["call_2"]
