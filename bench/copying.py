"""`python -m bench.copying`: how long `tertulia migrate copy` takes for so many messages, and how much memory."""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.ids import new_agent_id, new_conversation_id, new_message_id, new_run_id, new_step_id
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Run, Step, StepTrace, Usage
from tertulia.ports.events import EventChunk
from tertulia.ports.store import Store, Transaction
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.postgres.store import location
from tertulia.store.sqlite.store import open_sqlite

_WORDS: Final = [f"word{number}" for number in range(5000)]
_WORDS_A_MESSAGE: Final = 60
_MESSAGES_A_CONVERSATION: Final = 1000
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_USER, _REPLY = "user", "assistant"


def _message(conversation: Conversation, run_id: str, **fields: Any) -> Message:
    text = " ".join(random.choices(_WORDS, k=_WORDS_A_MESSAGE))
    return Message(
        id=new_message_id(),
        agent_id=conversation.agent_id,
        conversation_id=conversation.id,
        content=(TextPart(text),),
        created_at=_NOW,
        run_id=run_id,
        **fields,
    )


def _write_turn(tx: Transaction, conversation: Conversation, head: int) -> None:
    """What a message and its reply leave behind."""
    run = Run(
        id=new_run_id(),
        agent_id=conversation.agent_id,
        conversation_id=conversation.id,
        status="completed",
        created_at=_NOW,
    )
    step = Step(
        id=new_step_id(),
        run_id=run.id,
        agent_id=run.agent_id,
        conversation_id=run.conversation_id,
        status="success",
        created_at=_NOW,
        model="tiny",
        model_handle="box/tiny",
        model_endpoint=None,
        provider_name="box",
        provider_category="base",
        context_window_limit=8192,
        usage=Usage(prompt_tokens=1000, completion_tokens=80, total_tokens=1080),
    )
    trace = StepTrace(
        step_id=step.id,
        conversation_id=conversation.id,
        frame=conversation.id,
        context_from=1,
        head=head,
        reply={"choices": [{"index": 0, "message": {"content": "…" * 200}}]},
        created_at=_NOW,
    )
    tx.runs.insert(run)
    messages = [
        _message(conversation, run.id, role=_USER),
        _message(conversation, run.id, role=_REPLY, step_id=step.id, model="box/tiny"),
    ]
    tx.messages.append(conversation.id, messages, at=_NOW)
    tx.steps.insert(step, trace)
    tx.events.append(run.id, EventChunk(1, 90, b"x" * 4000))


async def _write(store: Store, messages: int) -> None:
    agent = Agent(
        id=new_agent_id(),
        name="Ada",
        agent_type="letta_v1_agent",
        system="",
        model="box/tiny",
        created_at=_NOW,
        updated_at=_NOW,
    )
    await store.write(lambda tx: tx.agents.insert(agent))
    for _ in range(max(1, messages // _MESSAGES_A_CONVERSATION)):
        conversation = Conversation(id=new_conversation_id(), agent_id=agent.id, created_at=_NOW, updated_at=_NOW)

        def work(tx: Transaction, conversation: Conversation = conversation) -> None:
            tx.conversations.insert(conversation, _message(conversation, "run-none", role="system"))
            tx.steps.put_frame(conversation.id, b"x" * 8000)
            for turn in range(min(messages, _MESSAGES_A_CONVERSATION) // 2):
                _write_turn(tx, conversation, 2 * turn + 2)

        await store.write(work)


async def make(path: Path, messages: int) -> None:
    store = await open_sqlite(path)
    await _write(store, messages)
    await store.close()


def copied(path: Path, url: str) -> dict[str, Any]:
    """Seconds, and megabytes (10⁶ bytes) of memory at the peak of the command's process."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "tertulia", "migrate", "copy", "--from", f"sqlite:///{path}", "--to", url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6),
        "source_mb": round(path.stat().st_size / 1e6),
        "to": location(url),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--to", help="an empty PostgreSQL; without it, one is started and thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tertulia-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # a database that is run as another user must get through
        path = directory / "tertulia.db"
        asyncio.run(make(path, options.messages))
        if options.to:
            result = copied(path, options.to)
        else:
            server = embedded_pg.start(directory / "pg" / "data")
            try:
                # The programs that start the database are children too, but small ones.
                result = copied(path, server.url)
            finally:
                server.close()
    print(json.dumps({"messages": options.messages, **result}, indent=2))


if __name__ == "__main__":
    main()
