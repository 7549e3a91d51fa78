"""Archives as clients see them, and what they may send to make and change one."""

from typing import Any, Literal

from pydantic import Field

from tertulia.api.wire.common import BodyModel, Instant, JsonObject, ResponseModel
from tertulia.domain.archives import Archive
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import Unsupported
from tertulia.domain.ids import new_id


class ArchiveBody(ResponseModel):
    id: str
    name: str
    description: str | None
    created_at: Instant
    updated_at: Instant
    metadata: dict[str, Any] | None
    vector_db_provider: Literal["native"] = "native"
    embedding_config: None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreateArchiveBody(BodyModel):
    name: str = Field(min_length=1)
    description: str | None = None
    embedding: str | None = None
    embedding_config: JsonObject | None = None


class UpdateArchiveBody(BodyModel):
    """A field that is left out or null stays as it is."""

    name: str | None = Field(None, min_length=1)
    description: str | None = None


def archive_body(archive: Archive) -> ArchiveBody:
    return ArchiveBody(
        id=archive.id,
        name=archive.name,
        description=archive.description,
        created_at=archive.created_at,
        updated_at=archive.updated_at,
        metadata=archive.metadata,
    )


def new_archive(body: CreateArchiveBody) -> Archive:
    """Make the archive.

    :raises Unsupported: if it is to have vectors.
    """
    if body.embedding or body.embedding_config:
        raise Unsupported(
            "UNSUPPORTED: archives have no vectors in this release of Tertulia; leave out 'embedding' and "
            "'embedding_config'."
        )
    now = utc_now()
    return Archive(id=new_id("archive"), name=body.name, description=body.description, created_at=now, updated_at=now)


def archive_changes(body: UpdateArchiveBody) -> dict[str, Any]:
    """Only what is to change, as the domain names it."""
    return body.model_dump(exclude_none=True)
