"""Runs as rows, and the index that keeps a conversation to one active run."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tertulia.domain.errors import ConversationBusy, LeaseLost, NotFound
from tertulia.domain.runs import Cancel, Run
from tertulia.ports.queries import RunQuery
from tertulia.ports.runs import Claim
from tertulia.store.sql.pages import Order, fetch_page
from tertulia.store.sql.session import Session, unless_found
from tertulia.store.sql.tables import microseconds, of_living_agent, runs

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Run).decode

_ORDER: Final = Order(runs.c.created_at, runs.c.id)

# A refused row is no error here, so that the active run can still be asked for in the same transaction on Postgres.
_INSERT: Final = """
    INSERT INTO runs (id, agent_id, conversation_id, status, background, stop_reason, created_at, body,
                      worker_id, token)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (conversation_id) WHERE status = 'running' DO NOTHING
"""
_GET: Final = "SELECT body FROM runs WHERE id = ?"
_UPDATE: Final = """
    UPDATE runs SET status = ?, background = ?, stop_reason = ?, body = ? WHERE id = ?
"""
_ACTIVE: Final = "SELECT body FROM runs WHERE conversation_id = ? AND status = 'running'"
_HELD: Final = "SELECT 1 FROM runs WHERE id = ? AND token = ? AND status = 'running'"
_ASIDE: Final = "aside"
"""Stands for the worker of runs that were set aside: no worker has this name, so nobody has a lease on them."""
_LOST: Final = f"""
    SELECT r.id, r.worker_id FROM runs r
    WHERE r.status = 'running'
        AND (r.worker_id IS NULL OR r.worker_id <> '{_ASIDE}' OR r.cancel IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = r.worker_id AND w.lease_until >= {{now}})
    ORDER BY r.created_at LIMIT ?
"""  # noqa: S608  a constant
_SET_ASIDE: Final = f"""
    SELECT r.id, r.worker_id FROM runs r
    WHERE r.status = 'running' AND r.worker_id = '{_ASIDE}' AND r.cancel IS NULL
    ORDER BY r.created_at LIMIT ?
"""  # noqa: S608  a constant
_CLAIM: Final = "UPDATE runs SET worker_id = ?, token = token + 1 WHERE id = ? RETURNING body, token, cancel"
_ASK_TO_CANCEL: Final = """
    UPDATE runs SET cancel = ? WHERE id = ? AND status = 'running'
"""
_ASKED_TO_CANCEL: Final = """
    SELECT id, cancel FROM runs WHERE worker_id = ? AND status = 'running' AND cancel IS NOT NULL
"""
_NOTE_CALL: Final = "INSERT INTO started_calls (run_id, tool_call_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
_FREE_QUEUES: Final = """
    SELECT q.conversation_id FROM runs q
    WHERE q.status = 'created'
        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.conversation_id = q.conversation_id AND r.status = 'running')
    GROUP BY q.conversation_id ORDER BY min(q.created_at) LIMIT ?
"""
_OTHER_ACTIVE: Final = "SELECT id FROM runs WHERE conversation_id = ? AND status = 'running' AND id <> ?"
_ALL_ACTIVE: Final = "SELECT body FROM runs WHERE status = 'running' ORDER BY created_at, id"
_QUEUED: Final = "SELECT body FROM runs WHERE status = 'created' ORDER BY created_at, id"
_WAITING: Final = "SELECT count(*) FROM runs WHERE status = 'created'"
_QUEUED_OF: Final = "SELECT body FROM runs WHERE conversation_id = ? AND status = 'created' ORDER BY created_at, id"


class SqlRuns:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, run: Run, worker_id: str | None = None) -> None:
        def check(rows: int) -> None:
            if not rows:
                raise ConversationBusy(self._active_id(run.conversation_id))

        self._session.later(
            _INSERT,
            run.id,
            run.agent_id,
            run.conversation_id,
            run.status,
            run.background,
            run.stop_reason,
            microseconds(run.created_at),
            _encode(run).decode(),
            worker_id,
            1 if run.status == "running" else 0,
            owner=("Conversation", run.conversation_id),
            changed=check,
        )

    def begin(self, run: Run, worker_id: str) -> None:
        self.update(run)
        self._session.run("UPDATE runs SET worker_id = ?, token = token + 1 WHERE id = ?", worker_id, run.id)

    def hold(self, run_id: str, token: int) -> None:
        def check(rows: int) -> None:
            if not rows:
                if self._session.row("SELECT 1 FROM runs WHERE id = ?", run_id) is None:
                    raise NotFound("Run", run_id)
                raise LeaseLost(run_id)

        self._session.later(self._session.locking(_HELD, "FOR NO KEY UPDATE"), run_id, token, changed=check)

    def claim(self, worker_id: str, limit: int, aside: int = 0) -> list[Claim]:
        found = self._unheld(_LOST.format(now=self._session.now), limit)
        if aside := min(aside, limit - len(found)):
            found += self._unheld(_SET_ASIDE, aside)
        claims: list[Claim] = []
        for id_, last in found:
            body, token, cancel = self._session.row(_CLAIM, worker_id, id_)
            given_up = last is None or last == _ASIDE
            claims.append(Claim(run=_decode(body), token=token, cancel=cancel, given_up=given_up))
        return claims

    def _unheld(self, sql: str, limit: int) -> list[tuple[str, str | None]]:
        """Runs and who had them last, without those that somebody is writing."""
        return list(self._session.rows(self._session.locking(sql, "FOR NO KEY UPDATE OF r SKIP LOCKED"), limit))

    def set_aside(self, run_id: str, token: int) -> None:
        self._session.run("UPDATE runs SET worker_id = ? WHERE id = ? AND token = ?", _ASIDE, run_id, token)

    def release(self, run_id: str, token: int) -> None:
        self._session.run("UPDATE runs SET worker_id = NULL WHERE id = ? AND token = ?", run_id, token)

    def release_all(self, worker_id: str) -> None:
        self._session.run("UPDATE runs SET worker_id = NULL WHERE worker_id = ? AND status = 'running'", worker_id)

    def ask_to_cancel(self, run_id: str, how: Cancel) -> bool:
        return self._session.run(_ASK_TO_CANCEL, how, run_id) == 1

    def asked_to_cancel(self, worker_id: str) -> list[tuple[str, Cancel]]:
        return [(id_, how) for id_, how in self._session.rows(_ASKED_TO_CANCEL, worker_id)]

    def keep(self, run_id: str) -> None:
        self._session.run("UPDATE runs SET kept = TRUE WHERE id = ?", run_id)

    def is_kept(self, run_id: str) -> bool:
        row = self._session.row("SELECT kept FROM runs WHERE id = ?", run_id)
        return row is not None and bool(row[0])

    def note_call(self, run_id: str, tool_call_id: str) -> None:
        self._session.insert_under(("Run", run_id), _NOTE_CALL, run_id, tool_call_id)

    def noted_calls(self, run_id: str) -> set[str]:
        rows = self._session.rows("SELECT tool_call_id FROM started_calls WHERE run_id = ?", run_id)
        return {id_ for (id_,) in rows}

    def free_queues(self, limit: int) -> list[str]:
        return [id_ for (id_,) in self._session.rows(_FREE_QUEUES, limit)]

    def get(self, run_id: str) -> Run:
        row = self._session.row(self._session.locking(_GET, "FOR NO KEY UPDATE"), run_id)
        if row is None:
            raise NotFound("Run", run_id)
        return _decode(row[0])

    def update(self, run: Run) -> None:
        """:raises ConversationBusy: if that would make a second active run of the conversation."""
        if run.status == "running":
            # Asked before, as a refused statement ends a transaction on Postgres; the index is for two at once.
            other = self._session.row(_OTHER_ACTIVE, run.conversation_id, run.id)
            if other is not None:
                raise ConversationBusy(other[0])
        body = _encode(run).decode()
        self._session.later(
            _UPDATE, run.status, run.background, run.stop_reason, body, run.id, changed=unless_found("Run", run.id)
        )

    def active(self, conversation_id: str) -> Run | None:
        row = self._session.row(_ACTIVE, conversation_id)
        return None if row is None else _decode(row[0])

    def all_active(self) -> list[Run]:
        return [_decode(body) for (body,) in self._session.rows(_ALL_ACTIVE)]

    def queued(self, conversation_id: str | None = None) -> list[Run]:
        if conversation_id is None:
            rows = self._session.rows(_QUEUED)
        else:
            rows = self._session.rows(_QUEUED_OF, conversation_id)
        return [_decode(body) for (body,) in rows]

    def waiting(self) -> int:
        count: int = self._session.row(_WAITING)[0]
        return count

    def next_queued(self, conversation_id: str) -> Run | None:
        row = self._session.row(f"{_QUEUED_OF} LIMIT 1", conversation_id)
        return None if row is None else _decode(row[0])

    def find(self, query: RunQuery) -> list[Run]:
        bodies = fetch_page(self._session, sa.select(runs.c.body).where(*_conditions(query)), _ORDER, query.page, "Run")
        return [_decode(body) for body in bodies]

    def _active_id(self, conversation_id: str) -> str:
        active: Any = self._session.row(
            "SELECT id FROM runs WHERE conversation_id = ? AND status = 'running'", conversation_id
        )
        return active[0] if active else "unknown"


def _conditions(query: RunQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [] if query.of_deleted else [of_living_agent(runs.c.agent_id)]
    if query.agent_ids:
        conditions.append(runs.c.agent_id.in_(query.agent_ids))
    if query.conversation_id is not None:
        conditions.append(runs.c.conversation_id == query.conversation_id)
    if query.statuses:
        conditions.append(runs.c.status.in_(query.statuses))
    if query.background is not None:
        conditions.append(runs.c.background.is_(query.background))
    if query.stop_reason is not None:
        conditions.append(runs.c.stop_reason == query.stop_reason)
    return conditions
