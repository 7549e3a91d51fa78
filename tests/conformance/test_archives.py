import httpx
from letta_client import Letta

from tests.conformance.helpers import detail, unique
from tests.conformance.requirements import requirement

MISSING = "archive-00000000-0000-4000-8000-000000000000"


@requirement("archives.create.returns-contract-shape")
def test_a_created_archive_shows_every_field(client: Letta) -> None:
    created = client.archives.create(name="sea", description="d")
    assert created.id.startswith("archive-")
    for archive in (created, client.archives.retrieve(created.id)):
        assert (archive.name, archive.description, archive.vector_db_provider) == ("sea", "d", "native")
        assert archive.embedding_config is None
    assert "no vectors" in detail(501, lambda: client.archives.create(name="sea", embedding="openai/e"))
    assert detail(422, lambda: client.archives.create(name=""))


@requirement("archives.retrieve.unknown-is-404")
def test_an_unknown_archive_is_404_everywhere(client: Letta) -> None:
    for request in (
        lambda: client.archives.retrieve(MISSING),
        lambda: client.archives.update(MISSING, name="x"),
        lambda: client.archives.delete(MISSING),
    ):
        assert MISSING in detail(404, request)


@requirement("archives.list.filters-and-cursors")
def test_archives_are_listed_newest_first_by_name_and_page_by_page(client: Letta) -> None:
    name = unique("archive")
    ids = [client.archives.create(name=name).id for _ in range(3)]
    client.archives.create(name=unique("other"))
    assert [archive.id for archive in client.archives.list(name=name, limit=2)] == ids[
        ::-1
    ]  # the SDK goes on by itself
    assert [archive.id for archive in client.archives.list(name=name, order="asc")] == ids
    assert [archive.id for archive in client.archives.list(name=name, after=ids[1])] == [ids[0]]
    assert list(client.archives.list(agent_id="agent-00000000-0000-4000-8000-000000000000")) == []


@requirement("archives.update.changes-what-is-given")
def test_an_archive_is_changed_field_by_field(client: Letta) -> None:
    archive = client.archives.create(name="sea", description="d")
    assert client.archives.update(archive.id, name="lake").description == "d"
    changed = client.archives.update(archive.id, description="e", name=None)
    assert (changed.name, changed.description) == ("lake", "e")
    assert changed.updated_at is not None
    assert changed.updated_at > archive.created_at
    assert client.archives.retrieve(archive.id) == changed


@requirement("archives.delete.is-final")
def test_a_deleted_archive_is_gone(client: Letta, http: httpx.Client) -> None:
    archive = client.archives.create(name="sea")
    reply = http.delete(f"/v1/archives/{archive.id}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert archive.id in detail(404, lambda: client.archives.delete(archive.id))
