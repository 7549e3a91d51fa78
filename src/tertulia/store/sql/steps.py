"""Steps, and their traces with the frames they share, as rows."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tertulia.domain.errors import NotFound
from tertulia.domain.runs import Step, StepTrace
from tertulia.ports.queries import StepQuery
from tertulia.store.sql.pages import Order, fetch_page, has_tags
from tertulia.store.sql.session import Session, unless_found
from tertulia.store.sql.tables import microseconds, of_living_agent, runs, step_tags, steps

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Step).decode
_decode_trace: Final = msgspec.json.Decoder(StepTrace).decode

_ORDER: Final = Order(steps.c.created_at, steps.c.id)

_INSERT: Final = """
    INSERT INTO steps (id, run_id, agent_id, model, feedback, project_id, created_at, body, frame, trace)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_GET: Final = "SELECT body FROM steps WHERE id = ?"
_UPDATE: Final = "UPDATE steps SET model = ?, feedback = ?, project_id = ?, body = ? WHERE id = ?"
_PUT_TRACE: Final = "UPDATE steps SET frame = ?, trace = ? WHERE id = ?"
_DELETE_FRAME: Final = "DELETE FROM frames WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM steps WHERE frame = ?)"
_PUT_FRAME: Final = "INSERT INTO frames (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"


def frames_of(session: Session, conversation_ids: sa.Select[Any]) -> list[str]:
    """The digests that traces of these conversations name."""
    of_these = sa.select(runs.c.id).where(runs.c.conversation_id.in_(conversation_ids))
    return session.first_column(
        sa.select(steps.c.frame).distinct().where(steps.c.run_id.in_(of_these), steps.c.frame.is_not(None))
    )


def forget_traces(session: Session, conversation_id: str, *, beyond: int) -> None:
    """Forget the traces that show positions from ``beyond`` on: these are gone, or will be written anew."""
    of_this = sa.select(runs.c.id).where(runs.c.conversation_id == conversation_id)
    traced = sa.select(steps.c.trace).where(steps.c.run_id.in_(of_this), steps.c.trace.is_not(None))
    forgotten = [trace for trace in map(_decode_trace, session.first_column(traced)) if trace.head > beyond]
    session.run_many(
        "UPDATE steps SET frame = NULL, trace = NULL WHERE id = ?", [(trace.step_id,) for trace in forgotten]
    )
    delete_unused_frames(session, list({trace.frame for trace in forgotten}))


def delete_unused_frames(session: Session, digests: Sequence[str]) -> None:
    """Delete those of the frames that no trace names any more."""
    session.run_many(_DELETE_FRAME, [(digest, digest) for digest in digests])


class SqlSteps:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, step: Step, trace: StepTrace | None = None) -> None:
        self._session.later(
            _INSERT,
            step.id,
            step.run_id,
            step.agent_id,
            step.model,
            step.feedback,
            step.project_id,
            microseconds(step.created_at),
            _encode(step).decode(),
            None if trace is None else trace.frame,
            None if trace is None else _encode(trace).decode(),
            owner=("Run", step.run_id),
        )
        self._insert_tags(step)

    def update(self, step: Step) -> None:
        body = _encode(step).decode()
        if self._session.run(_UPDATE, step.model, step.feedback, step.project_id, body, step.id) != 1:
            raise NotFound("Step", step.id)
        self._session.run("DELETE FROM step_tags WHERE step_id = ?", step.id)
        self._insert_tags(step)

    def get(self, step_id: str) -> Step:
        row = self._session.row(self._session.locking(_GET, "FOR NO KEY UPDATE"), step_id)
        if row is None:
            raise NotFound("Step", step_id)
        return _decode(row[0])

    def find(self, query: StepQuery) -> list[Step]:
        statement = sa.select(steps.c.body).where(*_conditions(query))
        return [_decode(body) for body in fetch_page(self._session, statement, _ORDER, query.page, "Step")]

    def put_frame(self, digest: str, data: bytes) -> None:
        self._session.later(_PUT_FRAME, digest, data)

    def frame(self, digest: str) -> bytes:
        row = self._session.row("SELECT data FROM frames WHERE digest = ?", digest)
        if row is None:
            raise NotFound("Frame", digest)
        return row[0]

    def put_trace(self, trace: StepTrace) -> None:
        body = _encode(trace).decode()
        self._session.later(_PUT_TRACE, trace.frame, body, trace.step_id, changed=unless_found("Step", trace.step_id))

    def trace(self, step_id: str) -> StepTrace | None:
        row = self._session.row("SELECT trace FROM steps WHERE id = ?", step_id)
        return None if row is None or row[0] is None else _decode_trace(row[0])

    def _insert_tags(self, step: Step) -> None:
        for tag in dict.fromkeys(step.tags):
            self._session.run("INSERT INTO step_tags (step_id, tag) VALUES (?, ?)", step.id, tag)


def _conditions(query: StepQuery) -> list[sa.ColumnElement[bool]]:
    equal = {
        "run_id": query.run_id,
        "agent_id": query.agent_id,
        "model": query.model,
        "feedback": query.feedback,
        "project_id": query.project_id,
    }
    conditions: list[sa.ColumnElement[bool]] = [of_living_agent(steps.c.agent_id)]
    conditions += [steps.c[column] == value for column, value in equal.items() if value is not None]
    if query.has_feedback is not None:
        conditions.append(steps.c.feedback.is_not(None) if query.has_feedback else steps.c.feedback.is_(None))
    if query.tags:
        conditions.append(has_tags(steps.c.id, step_tags.c.step_id, step_tags.c.tag, query.tags, every=False))
    if query.start is not None:
        conditions.append(steps.c.created_at >= query.start)
    if query.end is not None:
        conditions.append(steps.c.created_at <= query.end)
    return conditions
