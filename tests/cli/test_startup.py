import pytest
from starlette.types import Message, Receive, Scope, Send

from tertulia.cli.serve import StartupWatch
from tertulia.domain.errors import Conflict


async def start(watch: StartupWatch, sent: list[Message]) -> None:
    """Ask the application to start; ``sent`` is what it tells the server."""

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    await watch({"type": "lifespan"}, receive, send)


async def test_a_failure_the_user_can_mend_is_kept_and_its_traceback_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "Traceback …"})
        raise Conflict("the directory is in use")

    watch, sent = StartupWatch(app), list[Message]()
    await start(watch, sent)
    assert sent == [{"type": "lifespan.startup.failed", "message": ""}]
    assert str(watch.failure) == "the directory is in use"


async def test_a_bug_at_start_keeps_its_traceback() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "Traceback …"})
        raise ZeroDivisionError

    watch, sent = StartupWatch(app), list[Message]()
    with pytest.raises(ZeroDivisionError):
        await start(watch, sent)
    assert sent == [{"type": "lifespan.startup.failed", "message": "Traceback …"}]
    assert watch.failure is None


async def test_a_good_start_is_passed_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})

    sent: list[Message] = []
    await start(StartupWatch(app), sent)
    assert sent == [{"type": "lifespan.startup.complete"}]
