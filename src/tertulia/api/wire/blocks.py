"""Memory blocks as clients see them, and what they may send to make and change one."""

from typing import Annotated, Final

from pydantic import Field

from tertulia.api.wire.common import MAX_INT, BodyModel, JsonObject, Name, Names, Prose, ResponseModel, Text
from tertulia.domain.blocks import DEFAULT_LIMIT, Block, new_block


class BlockBody(ResponseModel):
    id: str
    value: str
    label: str
    limit: int
    description: str | None
    read_only: bool
    metadata: JsonObject
    tags: list[str]
    hidden: bool | None
    is_template: bool
    template_name: str | None
    template_id: str | None
    base_template_id: str | None
    deployment_id: str | None
    entity_id: str | None
    project_id: str | None
    preserve_on_migration: bool
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class _BlockExtras(BodyModel):
    """The fields that are optional both when a block is made and when it is changed."""

    description: Prose | None = None
    metadata: JsonObject | None = None
    tags: Names | None = None
    hidden: bool | None = None
    template_name: Name | None = None
    template_id: Name | None = None
    base_template_id: Name | None = None
    deployment_id: Name | None = None
    entity_id: Name | None = None
    project_id: Name | None = None
    preserve_on_migration: bool | None = None


class CreateBlockBody(_BlockExtras):
    label: Name = Field(min_length=1)
    value: Text
    limit: int = Field(DEFAULT_LIMIT, ge=0, le=MAX_INT)
    read_only: bool = False
    is_template: bool = False


class UpdateBlockBody(_BlockExtras):
    """A field left out is untouched. null clears a field that can be empty and leaves any other as it is."""

    label: Annotated[Name, Field(min_length=1)] | None = None
    value: Text | None = None
    limit: int | None = Field(None, ge=0, le=MAX_INT)
    read_only: bool | None = None
    is_template: bool | None = None


# What a null makes of each field that can be empty.
_EMPTY: Final[dict[str, object]] = {
    "description": None,
    "metadata": None,
    "tags": (),
    "hidden": None,
    "template_name": None,
    "template_id": None,
    "base_template_id": None,
    "deployment_id": None,
    "entity_id": None,
    "project_id": None,
    "preserve_on_migration": False,
}


def block_body(block: Block) -> BlockBody:
    return BlockBody(
        id=block.id,
        value=block.value,
        label=block.label,
        limit=block.limit,
        description=block.description,
        read_only=block.read_only,
        metadata=block.metadata or {},
        tags=list(block.tags),
        hidden=block.hidden,
        is_template=block.is_template,
        template_name=block.template_name,
        template_id=block.template_id,
        base_template_id=block.base_template_id,
        deployment_id=block.deployment_id,
        entity_id=block.entity_id,
        project_id=block.project_id,
        preserve_on_migration=block.preserve_on_migration,
    )


def block_of(body: CreateBlockBody) -> Block:
    """The block to be. Its value is not checked yet."""
    fields = body.model_dump(exclude_none=True)
    fields["tags"] = tuple(fields.get("tags", ()))
    return new_block(**fields)


def block_changes(body: UpdateBlockBody) -> dict[str, object]:
    """Only what is to change, as the domain names it."""
    changes: dict[str, object] = {
        name: _EMPTY[name] if value is None else value
        for name, value in body.model_dump(exclude_unset=True).items()
        if value is not None or name in _EMPTY
    }
    if body.tags is not None:
        changes["tags"] = tuple(body.tags)
    return changes
