"""Images by address: fetched where the provider needs bytes, the same each time, and shown as they were in traces."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tertulia.domain.images import all_loaded, image_bytes
from tertulia.domain.messages import Base64Image, ImagePart, Message, StoredImage, TextPart, ToolReturnPart, UrlImage
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.engine.turn import images
from tertulia.engine.turn.images import Images
from tertulia.ports.images import ImageUnavailable
from tertulia.ports.provider import ModelRequest
from tertulia.ports.queries import StepQuery
from tertulia.settings import WebSettings
from tertulia.store.sqlite.store import open_sqlite
from tests.support.histories import message
from tests.support.raw_http import RawServer, response
from tests.support.scripted import ScriptedCatalogue, ScriptedProvider
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables
from tests.support.world import World

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n...."
IMAGE = Base64Image("image/png", "iVBORw0KGgouLi4u")


class Album:
    """Has the images it was given, and counts what is asked of it."""

    def __init__(self, **held: str) -> None:
        self.held = held
        self.asked: list[str] = []

    async def fetch(self, url: str) -> Base64Image:
        self.asked.append(url)
        if url not in self.held:
            raise ImageUnavailable(f"{url} is gone.")
        return Base64Image("image/png", self.held[url])


async def test_an_image_is_fetched_once() -> None:
    album = Album(a="AAAA")
    kept = Images(album)
    for _ in range(3):
        assert await kept.load(["a"]) == {"a": Base64Image("image/png", "AAAA")}
    assert album.asked == ["a"]


async def test_an_address_that_leads_nowhere_is_not_asked_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    album = Album()
    kept = Images(album)
    now = 1000.0
    monkeypatch.setattr(images.time, "monotonic", lambda: now)
    for _ in range(3):
        assert await kept.load(["a"]) == {"a": "a is gone."}
    assert album.asked == ["a"]
    now += images.RETRY_SECONDS + 1
    album.held["a"] = "AAAA"
    assert await kept.load(["a"]) == {"a": Base64Image("image/png", "AAAA")}


async def test_what_is_kept_is_bounded_and_what_was_not_used_longest_goes_first() -> None:
    album = Album(a="A" * 400, b="B" * 400, c="C" * 400)
    kept = Images(album, kept_bytes=1000)
    await kept.load(["a", "b"])
    await kept.load(["a"])
    await kept.load(["c"])
    assert set(kept.known(["a", "b", "c"])) == {"a", "c"}
    assert (await kept.load(["b"])).keys() == {"b"}
    assert album.asked == ["a", "b", "c", "b"]


async def test_what_opens_an_address_to_others_is_not_logged() -> None:
    url = "https://me:secret@pictures.example/a.png?signature=secret"
    with capture_logs() as logged:
        assert await Images(Album()).load([url]) == {url: f"{url} is gone."}
    assert [line["url"] for line in logged] == ["https://***@pictures.example/a.png?…"]
    assert "secret" not in repr(logged)


def part(url: str) -> ImagePart:
    return ImagePart(UrlImage(url))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (IMAGE, IMAGE),
        (UrlImage("data:image/PNG;base64,iVBORw0KGgouLi4u"), IMAGE),
        (UrlImage("data:image/png;name=a;base64,iVBORw0KGgouLi4u"), IMAGE),
        (UrlImage("http://a/loaded"), IMAGE),
        (UrlImage("http://a/dead"), "[an image is missing here: it is dead]"),
        (UrlImage("http://a/unknown"), "[an image is missing here: it has not been loaded]"),
        (StoredImage("f", "image/png", IMAGE.data), IMAGE),
        (StoredImage("f"), "[an image is missing here: it is no longer available]"),
    ],
)
def test_an_image_is_bytes_or_the_words_for_its_lack(
    source: UrlImage | Base64Image | StoredImage, expected: Base64Image | str
) -> None:
    assert image_bytes(source, {"http://a/loaded": IMAGE, "http://a/dead": "it is dead"}) == expected


def with_images(*parts: ImagePart | ToolReturnPart) -> Message:
    return message("user", *parts)


def test_what_is_encoded_without_one_of_its_images_is_not_to_be_kept() -> None:
    loaded = {"http://a": IMAGE, "http://dead": "gone"}
    assert all_loaded(with_images(part("http://a"), part("data:image/png;base64,AA==")), loaded)
    assert not all_loaded(with_images(part("http://a"), part("http://dead")), loaded)
    returned = ToolReturnPart("c1", "look", (TextPart("see"), part("http://b")))
    assert not all_loaded(with_images(returned), loaded)


@pytest.fixture
async def open_world(tmp_path: Path) -> AsyncIterator[World]:
    """A world that fetches from this machine, with a model that needs bytes."""
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    catalogue = ScriptedCatalogue()
    catalogue.provider = Bytes()
    services = services_over(store, catalogue, web=WebSettings(allow_private_addresses=True))
    yield World(services, catalogue.provider)
    await services.runs.close()
    await store.close()


class Bytes(ScriptedProvider):
    """Takes images as bytes alone; its body says what it would show of each."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_image_urls = False

    def encode(self, request: ModelRequest) -> bytes:
        return b"[%s]" % b",".join(
            b'"%s"' % (found.data if isinstance(found, Base64Image) else found).encode() for found in shown(request)
        )


def shown(request: ModelRequest) -> list[Base64Image | str]:
    parts = [piece for one in request.messages for piece in one.content]
    return [image_bytes(piece.source, request.images) for piece in parts if isinstance(piece, ImagePart)]


def picture(conversation_id: str, url: str) -> SendRequest:
    message = NewMessage(role="user", content=(TextPart("look"), part(url)))
    return SendRequest(conversation_id=conversation_id, messages=(message,))


async def test_a_model_that_needs_bytes_is_shown_the_same_ones_in_every_turn(open_world: World) -> None:
    agent = (await open_world.agent()).agent
    async with RawServer(response(200, PNG, content_type="image/png"), response(404, b"")) as server:
        url = f"{server.url}/cat.png"
        run = await open_world.services.runs.start(picture(agent.id, url))
        await open_world.events(run.id)
        await open_world.send(agent.id, "again")
        assert [request.images for request in open_world.model.requests] == [{url: IMAGE}] * 2
        assert len(server.requests) == 1
    steps = await open_world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent.id)))
    trace = await open_world.services.runs.trace(steps[0].id)
    assert trace is not None
    assert trace.request == [IMAGE.data]
    assert await open_world.services.previews.of(picture(agent.id, url)) == b'["%s","%s"]' % (
        (IMAGE.data.encode(),) * 2
    )


async def test_an_image_that_cannot_be_had_is_said_to_be_missing_and_the_trace_says_so_too(open_world: World) -> None:
    agent = (await open_world.agent()).agent
    async with RawServer(response(404, b"")) as server:
        url = f"{server.url}/gone.png"
        for _ in range(2):
            run = await open_world.services.runs.start(picture(agent.id, url))
            await open_world.events(run.id)
        assert len(server.requests) == 1, "a dead address costs one turn alone"
    words = f"[an image is missing here: {url} answers with status 404 -.]"
    assert [shown(request) for request in open_world.model.requests] == [[words], [words] * 2]
    steps = await open_world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent.id)))
    trace = await open_world.services.runs.trace(steps[-1].id)
    assert trace is not None
    assert trace.request == [words]


async def test_a_preview_fetches_nothing(open_world: World) -> None:
    agent = (await open_world.agent()).agent
    async with RawServer(response(200, PNG)) as server:
        body = await open_world.services.previews.of(picture(agent.id, f"{server.url}/cat.png"))
        assert body == b'["[an image is missing here: it has not been loaded]"]'
        assert not server.requests


async def test_a_provider_that_fetches_by_itself_is_given_addresses(open_world: World) -> None:
    open_world.model.takes_image_urls = True
    agent = (await open_world.agent()).agent
    async with RawServer(response(200, PNG)) as server:
        run = await open_world.services.runs.start(picture(agent.id, f"{server.url}/cat.png"))
        await open_world.events(run.id)
        assert not server.requests
    assert open_world.model.requests[0].images == {}


async def test_nothing_of_a_private_network_is_fetched_unless_allowed(world: World) -> None:
    world.model.takes_image_urls = False
    agent = (await world.agent()).agent
    async with RawServer(response(200, PNG)) as server:
        run = await world.services.runs.start(picture(agent.id, f"{server.url}/cat.png"))
        await world.events(run.id)
        assert not server.requests
    (said,) = shown(world.model.requests[0])
    assert "TERTULIA_ALLOW_PRIVATE_ADDRESSES" in str(said)
