"""Requests that were sent before: by a client that gives its messages ids, or by its library alone.

A library sends again when it gave up waiting, or got an answer that may pass. Such a repetition says so (``retried``)
and has the same body. Within a short time it is the same message: it is answered by the run that is answering the
message already, or that has answered it. A run that was stopped because nobody waited for it any more, or that failed,
is continued by a new one: what was sent stays, and so does every tool's return; an interrupted reply is discarded.
"""

from dataclasses import replace as replace_request
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import Conflict
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.requests import SendRequest, encode_request
from tertulia.ports.queries import Page, RunQuery
from tertulia.ports.store import Transaction

WINDOW: Final = timedelta(seconds=90)
"""How long after a run's end a repetition is taken for one. Libraries wait for a minute at most."""

_LATELY: Final = 20
"""How many of a conversation's runs are looked at."""


def fingerprint(request: SendRequest) -> str:
    """The same for the same request, whatever it came with."""
    return blake2b(encode_request(request), digest_size=16).hexdigest()


def take_up(
    request: SendRequest, run: Run, conversation: Conversation, tx: Transaction
) -> tuple[Conversation, SendRequest] | Run:
    """What there is to begin: all of it, or what is left to do where an earlier run of the request came to nothing.

    Where it did not, that run is to be read.
    """
    known = find_earlier(request, run, tx)
    if known is None:
        return conversation, request
    if request.retried and is_unanswered(known):
        again = go_on_with(known, conversation, tx)
        if again is not None:
            return again, replace_request(request, messages=(), answers=())
        if not otids_of(request):
            return conversation, request
    return known


def find_earlier(request: SendRequest, run: Run, tx: Transaction) -> Run | None:
    """The run that was begun for just this request, by whatever it is told."""
    if run.queued_request is not None:
        return _find_begun(run, tx)
    return find_repeated(request, run, tx) or find_sent(request, run, tx)


def find_repeated(request: SendRequest, run: Run, tx: Transaction) -> Run | None:
    """The run of the message that the request repeats, which is not over or was so a moment ago."""
    if not request.retried or request.fingerprint is None:
        return None
    query = RunQuery(page=Page(limit=_LATELY), conversation_id=run.conversation_id)
    same = (found for found in tx.runs.find(query) if found.fingerprint == request.fingerprint)
    last = next(same, None)
    return last if last is not None and _lately(last, run.created_at) else None


def _find_begun(run: Run, tx: Transaction) -> Run | None:
    """The run itself if its turn came already: two ends may have looked for the next run at once."""
    now = tx.runs.get(run.id)
    return None if now.status == "created" else now


def find_sent(request: SendRequest, run: Run, tx: Transaction) -> Run | None:
    """The run of a request whose messages all came before: a retry, not a second message."""
    otids = otids_of(request)
    if not otids:
        return None
    run_ids = tx.messages.runs_by_otid(request.conversation_id, otids)
    for waiting in tx.runs.queued(request.conversation_id):
        if waiting.id != run.id:
            run_ids |= dict.fromkeys(set(waiting.input_otids).intersection(otids), waiting.id)
    if not run_ids:
        return None
    if len(run_ids) < len(otids) or len(set(run_ids.values())) > 1:
        raise Conflict(
            "CONFLICT: Some of these messages were sent before and some were not (by their otid), or they were sent "
            "in different requests. Repeat a request as it was, or give new messages new otids.",
            run_ids=sorted(set(run_ids.values())),
        )
    return tx.runs.get(next(iter(run_ids.values())))


def otids_of(request: SendRequest) -> tuple[str, ...]:
    """The client's ids of what it sends; empty unless everything has one."""
    sent = (*request.messages, *request.answers)
    otids = tuple([each.otid for each in sent if each.otid])
    return otids if len(otids) == len(sent) else ()


def is_unanswered(run: Run) -> bool:
    """Whether the message of a run has had no answer that anybody could have read."""
    return run.status == "failed" or (run.status == "cancelled" and run.abandoned)


def go_on_with(before: Run, conversation: Conversation, tx: Transaction) -> Conversation | None:
    """The conversation as it is to be answered again; None if the message that the run had is not its last.

    Only what was stored of a reply that was cut off is taken back.
    """
    (newest,) = tx.runs.find(RunQuery(page=Page(limit=1), conversation_id=conversation.id))
    if newest.id != before.id or before.first is None:
        return None
    end = conversation.head
    for message in reversed(tx.messages.range(conversation.id, before.first, end)):
        if not message.partial:
            break
        end -= 1
    if end <= before.first and not _awaits_a_reply(conversation.id, end, tx):
        return None  # what was sent was taken back
    if end < conversation.head:
        tx.messages.truncate(conversation.id, end)
    return replace(tx.conversations.get(conversation.id), head=end)


def _awaits_a_reply(conversation_id: str, end: int, tx: Transaction) -> bool:
    """Whether the messages below ``end`` are still without the reply to the last of them."""
    last = tx.messages.range(conversation_id, max(end - 1, 1), end)
    return bool(last) and last[0].role != "assistant"


def _lately(run: Run, now: datetime) -> bool:
    if run.status in ACTIVE_STATUSES:
        return True
    return run.completed_at is not None and now - run.completed_at <= WINDOW
