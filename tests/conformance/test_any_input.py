"""Schemathesis makes up requests from our own OpenAPI document: whatever comes in, no answer is a 500."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.conformance.operations import SUPPORTED
from tests.conformance.requirements import requirement
from tests.conformance.schema import operation
from tests.conformance.wire import find_error_problems

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.support.openai_endpoint import OpenAIEndpoint
    from tests.support.server_process import ServerProcess

EXAMPLES = 6  # made-up requests of each kind

sparing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def described(server: ServerProcess) -> dict[tuple[str, str], Any]:
    """What our document says of each operation, by its method and path; the names of parameters are left out."""
    document: Any = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json", verify=False).json())
    found: list[Any] = [result.ok() for result in document.get_all_operations()]
    return {_place(each.method.upper(), each.path): each for each in found}


def _place(method: str, path: str) -> tuple[str, str]:
    return method, re.sub(r"\{\w+\}", "{}", path.rstrip("/"))


@pytest.fixture
def ids(client: Letta, agent: AgentState) -> dict[str, str]:
    """An id of everything that an operation's path may name, of things that exist."""
    conversation = client.conversations.create(agent_id=agent.id)
    run_ids = client.agents.messages.create(agent.id, input="hello").usage.run_ids
    assert run_ids is not None
    return {
        "agent_id": agent.id,
        "conversation_id": conversation.id,
        "block_id": client.blocks.create(label="made", value="up").id,
        "block_label": "human",
        "archive_id": client.archives.create(name="made").id,
        "tool_id": agent.tools[0].id,
        "tool_name": agent.tools[0].name or "",
        "message_id": client.agents.messages.list(agent.id).items[0].id,
        "run_id": run_ids[0],
        "step_id": client.runs.steps.list(run_ids[0]).items[0].id,
    }


def _kinds() -> list[tuple[str, bool, GenerationMode]]:
    """Each operation with what can be made up for it: ids where it names some, and bad values where it takes any."""
    kinds: list[tuple[str, bool, GenerationMode]] = []
    for sdk in sorted(SUPPORTED):
        known = operation(sdk)
        kinds.append((sdk, True, GenerationMode.POSITIVE))
        if "{" in known.path:
            kinds.append((sdk, False, GenerationMode.POSITIVE))
        if known.query or known.body:
            kinds.append((sdk, True, GenerationMode.NEGATIVE))
    return kinds


@requirement("any-input.no-500")
@pytest.mark.parametrize(("sdk", "existing", "mode"), _kinds())
def test_no_input_is_answered_with_500(
    described: dict[tuple[str, str], Any],
    server: ServerProcess,
    endpoint: OpenAIEndpoint,
    ids: dict[str, str],
    sdk: str,
    existing: bool,
    mode: GenerationMode,
) -> None:
    known = operation(sdk)
    ours = described[_place(known.method, known.path)]
    named: dict[str, Any] = {name: ids[name] for name in re.findall(r"\{(\w+)\}", ours.path)}
    strategy = ours.as_strategy(generation_mode=mode, path_parameters=named if existing and named else None)

    @sparing
    @given(case=strategy)
    def probe(case: Any) -> None:
        reply = case.call(base_url=server.url)
        assert reply.status_code != 500, case.as_curl_command()
        if reply.status_code >= 400:
            assert not find_error_problems(reply.content), case.as_curl_command()

    probe()
    # Made-up messages may ask the endpoint for anything; what they asked is not what is tested.
    endpoint.violations.clear()
