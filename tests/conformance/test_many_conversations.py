import asyncio

import httpx
from letta_client import AsyncLetta, Letta
from letta_client.types import AgentState

from tests.conformance.helpers import history, types
from tests.conformance.requirements import requirement
from tests.conformance.wire import AsyncRecordingTransport, Recorder
from tests.support.openai_endpoint import Delay, OpenAIEndpoint, text
from tests.support.server_process import ServerProcess

CONVERSATIONS = 100


@requirement("concurrency.a-hundred-conversations")
async def test_a_hundred_conversations_of_one_agent_all_answer_at_once(
    server: ServerProcess, client: Letta, agent: AgentState, endpoint: OpenAIEndpoint, recorder: Recorder
) -> None:
    endpoint.answer_with(lambda request: [Delay(0.2), *text("You said ", request.last_user_text)])
    transport = AsyncRecordingTransport(recorder)
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        many = AsyncLetta(base_url=server.url, api_key="unused", http_client=http, max_retries=0)
        talks = await asyncio.gather(*(many.conversations.create(agent_id=agent.id) for _ in range(CONVERSATIONS)))

        async def say(number: int, conversation_id: str) -> str:
            events = await many.conversations.messages.create(conversation_id, input=f"n{number}", stream_tokens=True)
            return "".join([str(e.content) async for e in events if e.message_type == "assistant_message"])

        said = await asyncio.gather(*(say(number, talk.id) for number, talk in enumerate(talks)))
    assert said == [f"You said n{number}" for number in range(CONVERSATIONS)]
    assert len(endpoint.requests) == CONVERSATIONS
    listed = client.runs.list(agent_id=agent.id, limit=CONVERSATIONS).items
    assert {run.status for run in listed} == {"completed"}
    assert len({run.conversation_id for run in listed}) == CONVERSATIONS
    for talk in talks[:: CONVERSATIONS // 5]:
        assert types(history(client, talk.id)) == ["system_message", "user_message", "assistant_message"]
