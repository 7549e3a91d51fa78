"""Memory blocks, their tags and their attachments as rows."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import BlockClash, NotFound
from tertulia.ports.queries import BlockQuery
from tertulia.store.sql.pages import Order, contains, fetch_page, has_tags, visible
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import attachments, block_tags, blocks

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Block).decode

_AGENT: Final = "SELECT 1 FROM agents WHERE id = ? AND NOT deleted"
_BLOCK: Final = "SELECT 1 FROM blocks WHERE id = ?"
_GET: Final = "SELECT body, value FROM blocks WHERE id = ?"

_ORDER: Final = Order(blocks.c.created_at, blocks.c.id)


def _row(block: Block) -> dict[str, Any]:
    return {
        "id": block.id,
        "version": block.version,
        "label": block.label,
        "template_name": block.template_name,
        "description": block.description,
        "project_id": block.project_id,
        "hidden": block.hidden,
        "is_template": block.is_template,
        "created_at": block.created_at,
        "value": block.value,
        "body": _encode(replace(block, value="")).decode(),
    }


def block_of_row(body: str, value: str) -> Block:
    return replace(_decode(body), value=value)


class SqlBlocks:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, block: Block) -> None:
        self._session.change(sa.insert(blocks), _row(block))
        self._insert_tags(block)

    def get(self, block_id: str) -> Block:
        block = self._found(block_id)
        if block is None:
            raise NotFound("Block", block_id)
        return block

    def _found(self, block_id: str) -> Block | None:
        row = self._session.row(self._session.locking(_GET, "FOR NO KEY UPDATE"), block_id)
        return None if row is None else block_of_row(*row)

    def replace(self, block: Block) -> Block:
        stored = replace(block, version=block.version + 1)
        unchanged = (blocks.c.id == block.id) & (blocks.c.version == block.version)
        if not self._session.change(sa.update(blocks).where(unchanged), _row(stored)):
            raise BlockClash(block.label, block.version, self.get(block.id).version)
        self._session.change(sa.delete(block_tags).where(block_tags.c.block_id == block.id))
        self._insert_tags(stored)
        return stored

    def delete(self, block_id: str) -> None:
        if not self._session.change(sa.delete(blocks).where(blocks.c.id == block_id)):
            raise NotFound("Block", block_id)

    def find(self, query: BlockQuery) -> list[Block]:
        statement = sa.select(blocks.c.id).where(*_conditions(query))
        ids = fetch_page(self._session, statement, _ORDER, query.page, "Block")
        return [self.get(id_) for id_ in ids]

    def count(self, query: BlockQuery) -> int:
        statement = sa.select(sa.func.count()).select_from(blocks).where(*_conditions(query))
        return self._session.first_column(statement)[0]

    def of_conversation(self, conversation: Conversation) -> list[Block]:
        shared = self.of_agents([conversation.agent_id])[conversation.agent_id]
        found = [self._found(block_id) for block_id in conversation.isolated_block_ids]
        isolated = {block.label: block for block in found if block is not None}
        return [isolated.pop(block.label, block) for block in shared] + list(isolated.values())

    def of_agents(self, agent_ids: Sequence[str]) -> dict[str, list[Block]]:
        found: dict[str, list[Block]] = {id_: [] for id_ in agent_ids}
        if not found:
            return found
        marks = ", ".join("?" * len(found))
        rows = self._session.rows(
            "SELECT a.agent_id, b.body, b.value FROM block_attachments a JOIN blocks b ON b.id = a.block_id "  # noqa: S608  only question marks are added
            f"WHERE a.agent_id IN ({marks}) ORDER BY a.place",
            *found,
        )
        for agent_id, body, value in rows:
            found[agent_id].append(block_of_row(body, value))
        return found

    def attach(self, agent_id: str, block_id: str) -> None:
        # The agent is locked, so that no two blocks come to the same place.
        for noun, sql, id_ in (("Agent", _AGENT, agent_id), ("Block", _BLOCK, block_id)):
            if self._session.row(self._session.locking(sql, "FOR NO KEY UPDATE"), id_) is None:
                raise NotFound(noun, id_)
        self._session.run(
            """
            INSERT INTO block_attachments (agent_id, block_id, place)
            VALUES (?, ?, (SELECT coalesce(max(place) + 1, 0) FROM block_attachments WHERE agent_id = ?))
            ON CONFLICT (agent_id, block_id) DO NOTHING
            """,
            agent_id,
            block_id,
            agent_id,
        )

    def detach(self, agent_id: str, block_id: str) -> None:
        """:raises NotFound: if the block is not attached to the agent."""
        attached = (attachments.c.agent_id == agent_id) & (attachments.c.block_id == block_id)
        if not self._session.change(sa.delete(attachments).where(attached)):
            raise NotFound("Block", block_id)

    def _insert_tags(self, block: Block) -> None:
        rows = [{"block_id": block.id, "tag": tag} for tag in dict.fromkeys(block.tags)]
        if rows:
            self._session.change(sa.insert(block_tags), rows)


def _conditions(query: BlockQuery) -> list[sa.ColumnElement[bool]]:
    return [*_attributes(query), *_attachments(query)]


def _attributes(query: BlockQuery) -> list[sa.ColumnElement[bool]]:
    equal = {"label": query.label, "template_name": query.name, "project_id": query.project_id}
    parts = {"label": query.label_search, "description": query.description_search, "value": query.value_search}
    conditions = [blocks.c[column] == value for column, value in equal.items() if value is not None]
    conditions += [contains(blocks.c[column], part) for column, part in parts.items() if part is not None]
    if query.tags:
        conditions.append(
            has_tags(blocks.c.id, block_tags.c.block_id, block_tags.c.tag, query.tags, every=query.match_all_tags)
        )
    if query.templates_only:
        conditions.append(blocks.c.is_template)
    if not query.include_hidden:
        conditions.append(visible(blocks.c.hidden))
    return conditions


def _attachments(query: BlockQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if query.agent_id is not None:
        conditions.append(
            blocks.c.id.in_(sa.select(attachments.c.block_id).where(attachments.c.agent_id == query.agent_id))
        )
    count = sa.select(sa.func.count()).where(attachments.c.block_id == blocks.c.id).scalar_subquery()
    if query.agents_count_gt is not None:
        conditions.append(count > query.agents_count_gt)
    if query.agents_count_lt is not None:
        conditions.append(count < query.agents_count_lt)
    if query.agents_count_in:
        conditions.append(count.in_(query.agents_count_in))
    return conditions
