"""``/v1/archives``."""

from msgspec.structs import replace

from tertulia.api.deps import CurrentServices
from tertulia.api.pages import NewestFirst
from tertulia.api.routing import api_router
from tertulia.api.wire.archives import (
    ArchiveBody,
    CreateArchiveBody,
    UpdateArchiveBody,
    archive_body,
    archive_changes,
    new_archive,
)
from tertulia.domain.archives import Archive
from tertulia.domain.clock import utc_now
from tertulia.ports.plain import PlainQuery
from tertulia.ports.store import Transaction

router = api_router("archives")


@router.get("/v1/archives", operation_id="list_archives")
async def list_archives(
    *,
    services: CurrentServices,
    name: str | None = None,
    agent_id: str | None = None,
    asked: NewestFirst,
) -> list[ArchiveBody]:
    if agent_id is not None:
        return []  # this release attaches no archive to an agent
    query = PlainQuery(page=asked, where={"name": name})
    return [archive_body(archive) for archive in await services.store.read(lambda tx: tx.of(Archive).find(query))]


@router.post("/v1/archives", operation_id="create_archive")
async def create_archive(body: CreateArchiveBody, services: CurrentServices) -> ArchiveBody:
    archive = new_archive(body)
    await services.store.write(lambda tx: tx.of(Archive).insert(archive))
    return archive_body(archive)


@router.get("/v1/archives/{archive_id}", operation_id="retrieve_archive")
async def retrieve_archive(archive_id: str, services: CurrentServices) -> ArchiveBody:
    return archive_body(await services.store.read(lambda tx: tx.of(Archive).get(archive_id)))


@router.patch("/v1/archives/{archive_id}", operation_id="modify_archive")
async def modify_archive(archive_id: str, body: UpdateArchiveBody, services: CurrentServices) -> ArchiveBody:
    changes = archive_changes(body)

    def modify(tx: Transaction) -> Archive:
        changed = replace(tx.of(Archive).get(archive_id), updated_at=utc_now(), **changes)
        tx.of(Archive).update(changed)
        return changed

    return archive_body(await services.store.write(modify))


@router.delete("/v1/archives/{archive_id}", operation_id="delete_archive", status_code=204)
async def delete_archive(archive_id: str, services: CurrentServices) -> None:
    await services.store.write(lambda tx: tx.of(Archive).delete(archive_id))
