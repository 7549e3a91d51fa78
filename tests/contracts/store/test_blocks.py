"""Memory blocks in a store."""

import asyncio

import pytest
from msgspec.structs import replace

from tertulia.domain.blocks import Block
from tertulia.domain.errors import BlockClash, NotFound
from tertulia.ports.queries import BlockQuery, Page
from tertulia.ports.store import Store
from tests.contracts.store.makers import Work, a_block, a_conversation, at, stored_agent, stored_block


async def labels(store: Store, query: BlockQuery) -> list[str]:
    return [block.label for block in await store.read(lambda tx: tx.blocks.find(query))]


async def test_a_block_is_read_back_with_every_field(store: Store) -> None:
    block = a_block(
        value='tea ☕ "quoted"',
        description="what she likes",
        limit=99,
        read_only=True,
        version=4,
        metadata={"a": [1]},
        tags=("x", "y"),
        hidden=False,
        is_template=True,
        template_name="taste",
        template_id="t",
        base_template_id="b",
        deployment_id="d",
        entity_id="e",
        project_id="p",
        preserve_on_migration=True,
    )
    await store.write(lambda tx: tx.blocks.insert(block))
    assert await store.read(lambda tx: tx.blocks.get(block.id)) == block


async def test_an_unknown_block_is_not_found(store: Store) -> None:
    agent = await stored_agent(store)
    works: list[Work] = [
        lambda tx: tx.blocks.get("block-x"),
        lambda tx: tx.blocks.delete("block-x"),
        lambda tx: tx.blocks.replace(a_block(id="block-x")),
        lambda tx: tx.blocks.attach(agent.id, "block-x"),
        lambda tx: tx.blocks.detach(agent.id, "block-x"),
    ]
    for work in works:
        with pytest.raises(NotFound, match="Block not found with id='block-x'"):
            await store.write(work)


async def test_replacing_a_block_raises_its_version(store: Store) -> None:
    block = await stored_block(store, tags=("old",))
    stored = await store.write(
        lambda tx: tx.blocks.replace(replace(block, value="Likes coffee.", updated_at=at(3), tags=("new",)))
    )
    assert stored.version == 2
    assert await store.read(lambda tx: tx.blocks.get(block.id)) == stored
    assert stored.updated_at == at(3)
    assert await labels(store, BlockQuery(tags=("new",))) == ["human"]
    assert await labels(store, BlockQuery(tags=("old",))) == []


async def test_replacing_a_version_that_is_gone_clashes_and_writes_nothing(store: Store) -> None:
    block = await stored_block(store)
    newer = await store.write(lambda tx: tx.blocks.replace(replace(block, value="newer")))
    with pytest.raises(BlockClash, match="version 2, the edit was made against version 1"):
        await store.write(lambda tx: tx.blocks.replace(replace(block, value="stale")))
    assert await store.read(lambda tx: tx.blocks.get(block.id)) == newer


async def test_of_two_writers_to_one_block_at_once_one_clashes(store: Store) -> None:
    block = await stored_block(store)
    outcomes = await asyncio.gather(
        *(store.write(lambda tx, value=value: tx.blocks.replace(replace(block, value=value))) for value in "ab"),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Block, BlockClash}


async def test_an_agents_blocks_come_in_the_order_they_were_attached(store: Store) -> None:
    agent, other, none = await stored_agent(store), await stored_agent(store), await stored_agent(store)
    first = await stored_block(store, agent, label="first", created_at=at(9))
    second = await stored_block(store, other, agent, label="second", created_at=at(1))
    found = await store.read(lambda tx: tx.blocks.of_agents([agent.id, other.id, none.id]))
    assert found == {agent.id: [first, second], other.id: [second], none.id: []}
    assert await store.read(lambda tx: tx.blocks.of_agents([])) == {}


async def test_a_conversation_shows_its_isolated_blocks_in_place_of_those_with_the_same_label(store: Store) -> None:
    agent = await stored_agent(store)
    human, persona = await stored_block(store, agent), await stored_block(store, agent, label="persona")
    own, extra = await stored_block(store, label="human"), await stored_block(store, label="notes")
    plain = a_conversation(agent)
    assert await store.read(lambda tx: tx.blocks.of_conversation(plain)) == [human, persona]
    isolating = a_conversation(agent, isolated_block_ids=(own.id, extra.id))
    assert await store.read(lambda tx: tx.blocks.of_conversation(isolating)) == [own, persona, extra]


async def test_attaching_again_leaves_the_block_in_its_place(store: Store) -> None:
    agent = await stored_agent(store)
    first, second = await stored_block(store, agent), await stored_block(store, agent)
    await store.write(lambda tx: tx.blocks.attach(agent.id, first.id))
    assert await store.read(lambda tx: tx.blocks.of_agents([agent.id])) == {agent.id: [first, second]}


async def test_a_detached_block_can_be_attached_again_at_the_end(store: Store) -> None:
    agent = await stored_agent(store)
    first, second = await stored_block(store, agent), await stored_block(store, agent)
    await store.write(lambda tx: tx.blocks.detach(agent.id, first.id))
    assert await store.read(lambda tx: tx.blocks.of_agents([agent.id])) == {agent.id: [second]}
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.blocks.detach(agent.id, first.id))
    await store.write(lambda tx: tx.blocks.attach(agent.id, first.id))
    assert await store.read(lambda tx: tx.blocks.of_agents([agent.id])) == {agent.id: [second, first]}


async def test_a_block_cannot_be_attached_to_an_agent_that_does_not_exist(store: Store) -> None:
    block = await stored_block(store)
    with pytest.raises(NotFound, match="Agent not found"):
        await store.write(lambda tx: tx.blocks.attach("agent-x", block.id))


async def test_a_deleted_block_is_gone_from_its_agents(store: Store) -> None:
    agent = await stored_agent(store)
    block = await stored_block(store, agent, tags=("x",))
    await store.write(lambda tx: tx.blocks.delete(block.id))
    assert await store.read(lambda tx: tx.blocks.of_agents([agent.id])) == {agent.id: []}


async def test_blocks_are_filtered_by_their_fields(store: Store) -> None:
    agent = await stored_agent(store)
    await stored_block(
        store,
        agent,
        label="taste",
        value="100% Tea",
        description="Likes",
        template_name="t",
        is_template=True,
        tags=("x", "y"),
        project_id="p",
        created_at=at(1),
    )
    await stored_block(store, label="other", value="1000", tags=("x",), created_at=at(2))
    await stored_block(store, label="hidden", hidden=True, created_at=at(3))
    assert await labels(store, BlockQuery()) == ["other", "taste"]
    assert await labels(store, BlockQuery(page=Page(ascending=True))) == ["taste", "other"]
    assert await labels(store, BlockQuery(include_hidden=True)) == ["hidden", "other", "taste"]
    for query in (
        BlockQuery(agent_id=agent.id),
        BlockQuery(label="taste"),
        BlockQuery(name="t"),
        BlockQuery(label_search="AST"),
        BlockQuery(description_search="like"),
        BlockQuery(value_search="0% TEA"),
        BlockQuery(tags=("x", "y"), match_all_tags=True),
        BlockQuery(project_id="p"),
        BlockQuery(templates_only=True),
    ):
        assert await labels(store, query) == ["taste"], query
    assert await labels(store, BlockQuery(tags=("x", "y"))) == ["other", "taste"]


async def test_a_pattern_of_thousands_of_equal_characters_is_soon_looked_for(store: Store) -> None:
    await stored_block(store, label="long", value="a" * 100_000 + "%_\\")
    for part, found in (("a" * 9_000 + "b", []), ("A" * 9_000, ["long"]), ("a%_\\", ["long"]), ("%a", [])):
        assert await labels(store, BlockQuery(value_search=part)) == found


async def test_blocks_are_filtered_by_how_many_agents_share_them(store: Store) -> None:
    agents = [await stored_agent(store) for _ in range(2)]
    for count in range(3):
        await stored_block(store, *agents[:count], label=str(count), created_at=at(count))
    ascending = Page(ascending=True)
    assert await labels(store, BlockQuery(agents_count_gt=0, page=ascending)) == ["1", "2"]
    assert await labels(store, BlockQuery(agents_count_lt=2, page=ascending)) == ["0", "1"]
    assert await labels(store, BlockQuery(agents_count_in=(0, 2), page=ascending)) == ["0", "2"]
