"""What one message costs, blocking and streamed, when the model answers at once and nobody else is there."""

from dataclasses import dataclass

from bench import api
from bench.client import Connection, Reply
from bench.stats import Timing
from bench.subject import Subject

CONVERSATIONS = 40
"""Messages go round these, so that histories stay short: what history costs is another scenario."""

FIRST_FRAME = b"data:"
FIRST_TOKEN = b'"assistant_message"'


@dataclass(frozen=True, slots=True)
class MessageCost:
    """Milliseconds a message.

    Attributes:
        total: from the first byte sent to the last byte of the reply.
        first_event: to the first server-sent event (streamed replies only).
        first_token: to the first event with text of the model (streamed replies only).
        endpoint: the same model request sent straight to the endpoint by the same client.
        own_median: median of `total` less median of `endpoint`.
        first: the very first message; for the blocking scenario the first the server gets, when what is loaded on first
            use is loaded.
        server_cpu: processor time of the server, all threads.
    """

    total: Timing
    first_event: Timing | None
    first_token: Timing | None
    endpoint: Timing
    own_median: float
    first: float
    server_cpu: float | None


async def measure(subject: Subject, *, streaming: bool) -> MessageCost:
    count = subject.effort.messages
    async with Connection(subject.server.port) as connection:
        agent_id = await api.create(connection, api.agent("fake"))
        ids = await api.create_conversations(connection, agent_id, CONVERSATIONS)
        requests = [api.message(conversation_id, streaming=streaming) for conversation_id in ids]
        warm_up = [await connection.send(request) for request in requests]
        with subject.processor() as processor:
            replies = [await connection.send(requests[index % CONVERSATIONS]) for index in range(count)]
    for reply in [*warm_up, *replies]:
        api.require(reply, answer=True)
    total = Timing.of([reply.seconds for reply in replies])
    endpoint = Timing.of(await subject.replay(count))
    return MessageCost(
        total=total,
        first_event=_timing_to(FIRST_FRAME, replies) if streaming else None,
        first_token=_timing_to(FIRST_TOKEN, replies) if streaming else None,
        endpoint=endpoint,
        own_median=round(total.median - endpoint.median, 3),
        first=round(warm_up[0].seconds * 1000, 3),
        server_cpu=processor.ms_each(count),
    )


def _timing_to(marker: bytes, replies: list[Reply]) -> Timing:
    return Timing.of([at for reply in replies if (at := reply.seconds_to(marker)) is not None])
