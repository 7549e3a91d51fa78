from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tests.conformance.helpers import MakeAgent, detail, send, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint

# A change of every field a block has, and whether null clears it.
CHANGES: list[tuple[str, Any, bool]] = [
    ("value", "new", False),
    ("label", "renamed", False),
    ("description", "what it is for", True),
    ("limit", 77, False),
    ("metadata", {"a": {"b": 1}}, True),
    ("read_only", True, False),
    ("hidden", True, True),
    ("is_template", True, False),
    ("template_name", "starter", True),
    ("preserve_on_migration", True, True),
    ("tags", ["x", "y"], True),
]


@requirement("blocks.create.returns-contract-shape")
def test_a_created_block_shows_every_field(client: Letta) -> None:
    given: dict[str, Any] = {
        "label": "notes",
        "value": "one",
        "description": "d",
        "limit": 50,
        "metadata": {"k": 1},
        "read_only": True,
        "hidden": False,
        "tags": ["t"],
        "is_template": False,
    }
    created = client.blocks.create(**given)
    assert created.id.startswith("block-")
    for block in (created, client.blocks.retrieve(created.id)):
        assert {name: getattr(block, name) for name in given} == given


@requirement("blocks.retrieve.unknown-is-404")
def test_an_unknown_block_is_404_everywhere(client: Letta, agent: AgentState) -> None:
    missing = "block-00000000-0000-4000-8000-000000000000"
    for request in (
        lambda: client.blocks.retrieve(missing),
        lambda: client.blocks.update(missing, value="x"),
        lambda: client.blocks.delete(missing),
        lambda: client.blocks.agents.list(missing),
        lambda: client.agents.blocks.attach(missing, agent_id=agent.id),
        lambda: client.agents.blocks.detach(missing, agent_id=agent.id),
    ):
        assert missing in detail(404, request)
    assert detail(404, lambda: client.agents.blocks.retrieve("nothing", agent_id=agent.id))
    assert detail(404, lambda: client.agents.blocks.update("nothing", agent_id=agent.id, value="x"))


@requirement("blocks.list.filters")
def test_blocks_are_found_by_label_text_and_tags(client: Letta) -> None:
    label, tag, other_tag = unique("label"), unique("tag"), unique("tag")
    first = client.blocks.create(label=label, value=f"v-{tag}", description=f"d-{tag}", tags=[tag, other_tag])
    second = client.blocks.create(label=f"{label}-2", value="other", tags=[tag])

    def found(**query: Any) -> set[str]:
        return {block.id for block in client.blocks.list(**query)}

    assert found(label=label) == {first.id}
    assert found(label_search=label) == {first.id, second.id}
    assert found(value_search=tag) == {first.id}
    assert found(description_search=tag) == {first.id}
    assert found(tags=[tag]) == {first.id, second.id}
    assert found(tags=[tag, other_tag], match_all_tags=True) == {first.id}
    assert found(tags=[tag, other_tag]) == {first.id, second.id}


@requirement("blocks.list.filters-templates")
def test_templates_alone_are_listed_on_request(client: Letta) -> None:
    tag = unique("tag")
    template = client.blocks.create(label="t", value="", tags=[tag], is_template=True, template_name=unique("name"))
    client.blocks.create(label="t", value="", tags=[tag])
    assert [b.id for b in client.blocks.list(tags=[tag], templates_only=True)] == [template.id]
    assert [b.id for b in client.blocks.list(tags=[tag], name=str(template.template_name))] == [template.id]


@requirement("blocks.list.filters-by-connected-agents")
def test_blocks_are_found_by_how_many_agents_have_them(client: Letta, make_agent: MakeAgent) -> None:
    tag = unique("tag")
    lonely, single, shared = (client.blocks.create(label=unique("l"), value="", tags=[tag]).id for _ in range(3))
    make_agent(block_ids=[single, shared])
    make_agent(block_ids=[shared])

    def found(**query: Any) -> set[str]:
        return {block.id for block in client.blocks.list(tags=[tag], **query)}

    assert found(connected_to_agents_count_gt=0) == {single, shared}
    assert found(connected_to_agents_count_lt=2) == {lonely, single}
    assert found(connected_to_agents_count_eq=[0, 2]) == {lonely, shared}


@requirement("blocks.list.order-and-cursors")
def test_blocks_come_in_order_and_page_by_page(client: Letta) -> None:
    tag = unique("tag")
    made = [client.blocks.create(label="l", value=str(n), tags=[tag]).id for n in range(5)]

    def page(**query: Any) -> list[str]:
        return [block.id for block in client.blocks.list(tags=[tag], **query).items]

    assert page(order="asc") == made
    assert page(order="desc") == made[::-1]
    assert page(order="asc", limit=2, after=made[1]) == made[2:4]
    assert page(order="desc", limit=2, after=made[3]) == [made[2], made[1]]
    assert page(order="asc", before=made[2]) == made[:2]
    assert [block.id for block in client.blocks.list(tags=[tag], order="desc", limit=2)] == made[::-1]


@requirement("blocks.update.every-field")
@pytest.mark.parametrize(("field", "value"), [(name, value) for name, value, _ in CHANGES])
def test_one_field_of_a_block_changes_and_the_others_stay(client: Letta, field: str, value: Any) -> None:
    block = client.blocks.create(label="plain", value="old", description="before", limit=500)
    change: dict[str, Any] = {field: value}
    updated = client.blocks.update(block.id, **change)
    assert client.blocks.retrieve(block.id) == updated
    assert updated.to_dict() == block.to_dict() | change


@requirement("blocks.update.null-clears")
@pytest.mark.parametrize(("field", "value"), [(name, value) for name, value, clears in CHANGES if clears])
def test_null_clears_a_field_of_a_block(client: Letta, field: str, value: Any) -> None:
    change: dict[str, Any] = {field: value}
    block = client.blocks.create(label="plain", value="old", **change)
    change[field] = None
    client.blocks.update(block.id, **change)
    assert not getattr(client.blocks.retrieve(block.id), field)


@requirement("blocks.update.keeps-the-limit")
def test_an_edit_past_the_limit_is_refused_with_the_numbers(client: Letta) -> None:
    block = client.blocks.create(label="small", value="12345", limit=10)
    said = detail(422, lambda: client.blocks.update(block.id, value="x" * 25))
    assert "25" in said
    assert "10" in said
    assert detail(422, lambda: client.blocks.update(block.id, limit=3))
    assert client.blocks.retrieve(block.id) == block


@requirement("blocks.delete.is-final")
def test_a_deleted_block_is_gone_from_its_agents_too(client: Letta, make_agent: MakeAgent) -> None:
    block = client.blocks.create(label="gone", value="x")
    agent = make_agent(block_ids=[block.id])
    assert client.blocks.delete(block.id) is None
    assert detail(404, lambda: client.blocks.retrieve(block.id))
    assert detail(404, lambda: client.blocks.delete(block.id))
    assert client.agents.retrieve(agent.id).memory.blocks == []


@requirement("blocks.agents.list.returns-contract-shape")
def test_the_agents_of_a_block_are_listed(client: Letta, make_agent: MakeAgent) -> None:
    block = client.blocks.create(label="shared", value="x")
    made = [make_agent(block_ids=[block.id]).id for _ in range(3)]
    make_agent()
    assert [agent.id for agent in client.blocks.agents.list(block.id, order="asc")] == made
    assert [agent.id for agent in client.blocks.agents.list(block.id, order="asc", limit=1, after=made[0]).items] == [
        made[1]
    ]


@requirement("agents.blocks.by-label")
def test_a_block_is_read_and_written_by_its_label(client: Letta, agent: AgentState) -> None:
    listed = client.agents.blocks.list(agent.id).items
    assert {block.label for block in listed} == {"human", "persona"}
    human = client.agents.blocks.retrieve("human", agent_id=agent.id)
    assert human.value == "Name: Chad."
    updated = client.agents.blocks.update("human", agent_id=agent.id, value="Name: Ada.", description=None)
    assert (updated.id, updated.value, updated.description, updated.limit) == (human.id, "Name: Ada.", None, 200)
    assert client.blocks.retrieve(human.id).value == "Name: Ada."


@requirement("agents.blocks.list.order-and-cursors")
def test_the_blocks_of_an_agent_come_page_by_page(client: Letta, make_agent: MakeAgent) -> None:
    made = [client.blocks.create(label=f"b{n}", value="").id for n in range(4)]
    agent = make_agent(block_ids=made)

    def page(**query: Any) -> list[str]:
        return [block.id for block in client.agents.blocks.list(agent.id, **query).items]

    assert page(order="asc") == made
    assert page(order="desc") == made[::-1]
    assert page(order="asc", limit=2, after=made[0]) == made[1:3]


@requirement("agents.blocks.attach-and-detach")
def test_a_block_is_attached_and_detached(client: Letta, agent: AgentState) -> None:
    block = client.blocks.create(label="project", value="Tertulia")
    attached = client.agents.blocks.attach(block.id, agent_id=agent.id)
    assert block.id in {b.id for b in attached.memory.blocks}
    detached = client.agents.blocks.detach(block.id, agent_id=agent.id)
    assert block.id not in {b.id for b in detached.memory.blocks}
    assert client.blocks.retrieve(block.id) == block


@requirement("agents.blocks.attach-refuses-a-second-label")
def test_an_agent_has_one_block_of_a_label(client: Letta, agent: AgentState) -> None:
    block = client.blocks.create(label="human", value="someone else")
    assert "human" in detail(400, lambda: client.agents.blocks.attach(block.id, agent_id=agent.id))


@requirement("memory.recompiled-at-the-next-message")
def test_a_changed_block_is_in_the_system_prompt_of_the_next_message(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, conversation.id)
    client.agents.blocks.update("human", agent_id=agent.id, value="Name: Grace.")
    send(client, conversation.id)
    before, after = (request.system for request in endpoint.wait_for_requests(2))
    assert "Name: Chad." in before
    assert "Name: Grace." in after
    assert "Name: Chad." not in after
    assert f"- CONVERSATION_ID: {conversation.id}" in after
