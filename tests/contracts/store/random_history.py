"""A store full of everything that can be stored, the same for the same seed but for ids, and every read of it."""

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

from msgspec.structs import fields as fields_of
from msgspec.structs import replace

from tertulia.domain.agents import Agent, AgentActivity
from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.ids import new_id, new_provider_id
from tertulia.domain.messages import Message, TextPart, ToolCallPart, ToolReturnPart
from tertulia.domain.providers import StoredProvider
from tertulia.domain.runs import Run, Step
from tertulia.ports.events import EventChunk
from tertulia.ports.plain import PlainQuery
from tertulia.ports.queries import (
    AgentQuery,
    BlockQuery,
    ConversationQuery,
    MessageQuery,
    Page,
    ProviderQuery,
    RunQuery,
    SearchQuery,
    StepQuery,
    TagQuery,
)
from tertulia.ports.store import Store, Transaction
from tertulia.store.sql.plain_nouns import PLAIN_NOUNS
from tests.contracts.store.makers import (
    Work,
    a_block,
    a_conversation,
    a_message,
    a_prompt,
    a_run,
    a_step,
    a_trace,
    an_agent,
    at,
)

WORDS: Final = ("tea", "Café", "zebra", "fox", "Über", "naïve", "a_b", "fox's", "ǅ", "東京", "🦊", "x", "'", '"', "\n")
TAGS: Final = ("Ω", "a", "B", "_", "é", "z")


@dataclass
class History:
    """What has been written so far, to go on from."""

    store: Store
    random: random.Random
    agents: list[Agent] = field(default_factory=list[Agent])
    blocks: list[Block] = field(default_factory=list[Block])
    conversations: list[Conversation] = field(default_factory=list[Conversation])
    messages: list[Message] = field(default_factory=list[Message])
    runs: list[Run] = field(default_factory=list[Run])
    steps: list[Step] = field(default_factory=list[Step])
    minutes: int = 0

    def now(self) -> datetime:
        """Later than before, or just as late."""
        self.minutes += self.random.randrange(2)
        return at(self.minutes) + timedelta(microseconds=self.random.randrange(1000))

    def some(self, choices: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
        return tuple(self.random.sample(choices, self.random.randint(0, most)))

    def text(self) -> str:
        return " ".join(self.random.choices(WORDS, k=self.random.randint(0, 30)))

    def maybe(self, value: Any) -> Any:
        return self.random.choice([None, value])

    async def write(self, work: Work) -> Any:
        return await self.store.write(work)

    async def add_agent(self) -> None:
        now = self.now()
        fields = {"name": self.random.choice(WORDS), "tags": self.some(TAGS), "hidden": self.maybe(value=True)}
        agent = an_agent(**fields, metadata={"k": [1, None, 0.5]}, created_at=now, updated_at=self.now())
        default = a_conversation(agent, id=agent.id, created_at=now)
        await self.write(lambda tx: tx.agents.insert(agent))
        await self.write(lambda tx: tx.conversations.insert(default, a_prompt(default, self.text())))
        self.agents.append(agent)
        self.conversations.append(default)

    async def add_block(self) -> None:
        label, now = self.random.choice(WORDS), self.now()
        block = a_block(label=label, value=self.text(), tags=self.some(TAGS), created_at=now, description=label)
        await self.write(lambda tx: tx.blocks.insert(block))
        self.blocks.append(block)
        for agent in self.random.sample(self.agents, self.random.randint(0, len(self.agents))):
            await self.write(lambda tx, agent=agent: tx.blocks.attach(agent.id, block.id))
        self.blocks[-1] = await self.write(lambda tx: tx.blocks.replace(replace(block, value=self.text())))

    async def add_conversation(self) -> None:
        isolated = tuple(block.id for block in self.random.sample(self.blocks, min(1, len(self.blocks))))
        conversation = a_conversation(
            self.random.choice(self.agents),
            created_at=self.now(),
            summary=self.maybe(self.text()),
            archived=self.random.random() < 0.2,
            isolated_block_ids=isolated,
        )
        await self.write(lambda tx: tx.conversations.insert(conversation, a_prompt(conversation, self.text())))
        self.conversations.append(conversation)

    async def add_messages(self) -> None:
        conversation, now = self.random.choice(self.conversations), self.now()
        run = self.maybe(self.random.choice(self.runs).id) if self.runs else None
        step = self.random.choice(self.steps).id if self.steps else None
        call = ToolCallPart(f"call-{self.minutes}", "look", '{"at": "\\u0000"}')
        answer = ToolReturnPart(call.id, "look", self.text())
        more: dict[str, Any] = {"run_id": run, "created_at": now}
        added = [
            a_message(conversation, self.text(), otid=self.maybe(f"otid-{self.minutes}"), **more),
            a_message(conversation, role="assistant", content=(TextPart(self.text()), call), step_id=step, **more),
            a_message(conversation, role="tool", content=(answer,), is_err=self.random.random() < 0.2, **more),
        ]
        await self.write(lambda tx: tx.messages.append(conversation.id, added, at=now))
        self.messages += added

    async def add_run(self) -> None:
        conversation = self.random.choice(self.conversations)
        busy = await self.store.read(lambda tx: tx.runs.active(conversation.id))
        status = self.random.choice(["completed", "failed", "created", *([] if busy else ["running"])])
        run = a_run(
            conversation,
            status=status,
            created_at=self.now(),
            background=self.random.random() < 0.5,
            stop_reason="end_turn" if status == "completed" else None,
            queued_request=b"\x00\xff" if status == "created" else None,
        )
        await self.write(lambda tx: tx.runs.insert(run, worker_id="worker-gone" if status == "running" else None))
        if status == "running":
            await self.write(lambda tx: tx.runs.note_call(run.id, f"call-{self.minutes}"))
            await self.write(lambda tx: tx.runs.keep(run.id))
            await self.write(lambda tx: tx.runs.ask_to_cancel(run.id, "rollback"))
        chunks = [EventChunk(1, 7, self.random.randbytes(50)), EventChunk(8, 8, b"")]
        for chunk in chunks[: self.random.randint(0, 2)]:
            await self.write(lambda tx, chunk=chunk: tx.events.append(run.id, chunk))
        activity = AgentActivity(last_run_completion=self.now(), last_run_duration_ms=2**40, last_stop_reason="error")
        await self.write(lambda tx: tx.agents.set_activity(run.agent_id, activity))
        self.runs.append(run)

    async def add_step(self) -> None:
        if not self.runs:
            return
        step = a_step(self.random.choice(self.runs), created_at=self.now(), tags=self.some(TAGS))
        frame = f"digest-{self.random.randrange(5)}"
        trace = self.maybe(a_trace(step, frame=frame, head=self.random.randint(1, 9)))
        await self.write(lambda tx: tx.steps.insert(step, trace))
        await self.write(lambda tx: tx.steps.put_frame(frame, f"\0{frame}".encode()))
        self.steps.append(step)

    async def fork(self) -> None:
        source = self.random.choice(self.conversations)
        head = (await self.store.read(lambda tx: tx.conversations.get(source.id))).head
        agent = next(agent for agent in self.agents if agent.id == source.agent_id)
        fork = a_conversation(agent, created_at=self.now())
        upto = self.random.randint(1, head)
        await self.write(lambda tx: tx.conversations.fork(source.id, fork, a_prompt(fork), upto))
        self.conversations.append(fork)

    async def compact(self) -> None:
        conversation = self.random.choice(self.conversations)
        summary = a_message(conversation, self.text(), role="summary", created_at=self.now())
        head: int = await self.write(lambda tx: tx.messages.append(conversation.id, [summary]))
        start = self.random.randint(1, head)
        await self.write(lambda tx: tx.conversations.set_context(conversation.id, start, (head - 1,)))

    async def take_back(self) -> None:
        conversation = self.random.choice(self.conversations)
        if self.random.random() < 0.5:
            await self.write(lambda tx: tx.messages.reset(conversation.id))
        else:
            head = (await self.store.read(lambda tx: tx.conversations.get(conversation.id))).head
            upto = self.random.randint(1, head)
            await self.write(lambda tx: tx.messages.truncate(conversation.id, upto))

    async def delete_conversation(self) -> None:
        conversation = self.random.choice(self.conversations)
        if not conversation.is_default:
            await self.write(lambda tx: tx.conversations.delete(conversation.id))
            self.conversations.remove(conversation)
            self.runs = [run for run in self.runs if run.conversation_id != conversation.id]
            self.steps = [step for step in self.steps if step.conversation_id != conversation.id]

    async def add_provider(self) -> None:
        now = self.now()
        provider = StoredProvider(
            id=new_provider_id(),
            name=f"{self.random.choice('aBZz_é')}{self.minutes}{self.random.randrange(10**9)}",
            provider_type="vllm",
            secret="sealed",
            created_at=now,
            updated_at=now,
        )
        await self.write(lambda tx: tx.providers.insert(provider))

    async def add_plain(self) -> None:
        """One of every plain noun, with its required fields filled."""
        for struct, noun in PLAIN_NOUNS.items():
            word = self.random.choice(WORDS)
            text = f"{word} {self.random.randrange(10**9)}"
            values: dict[Any, Any] = {str: text, datetime: self.now(), dict[str, Any]: {"said": text}}
            fields = {field.name: values[field.type] for field in fields_of(struct) if field.required}
            made = struct(**fields | {"id": new_id(noun.name.lower())})
            await self.write(lambda tx, struct=struct, made=made: tx.of(struct).insert(made))


async def fill(store: Store, seed: int, operations: int = 150) -> History:
    history = History(store, random.Random(seed))
    await history.add_agent()
    often: list[Callable[[], Coroutine[Any, Any, None]]] = [history.add_messages] * 8
    often += [history.add_run, history.add_step, history.add_step, history.fork] * 2
    seldom = [
        history.add_agent,
        history.add_block,
        history.add_conversation,
        history.compact,
        history.take_back,
        history.delete_conversation,
        history.add_provider,
        history.add_plain,
    ]
    for operation in history.random.choices(often + seldom, k=operations):
        await operation()
    return history


async def answers(store: Store, history: History) -> dict[str, Any]:
    """Every read of the store, by what was asked."""
    found: dict[str, Any] = {}

    async def ask(what: str, work: Callable[[Transaction], Any]) -> None:
        try:
            found[what] = await store.read(work)
        except NotFound as error:
            found[what] = str(error)

    await _ask_for_lists(ask, history)
    for conversation in history.conversations:
        await _ask_for_conversation(ask, conversation, history)
    for run in history.runs:
        await _ask_for_run(ask, run.id)
    for step in history.steps:
        await ask(f"step {step.id}", lambda tx, id_=step.id: tx.steps.get(id_))
        await ask(f"trace {step.id}", lambda tx, id_=step.id: tx.steps.trace(id_))
    for message in history.messages:
        await ask(f"message {message.id}", lambda tx, id_=message.id: tx.messages.get(id_))
    for agent in history.agents:
        await ask(f"agent {agent.id}", lambda tx, id_=agent.id: (tx.agents.get(id_), tx.agents.activity([id_])))
        await ask(f"blocks of {agent.id}", lambda tx, id_=agent.id: tx.blocks.of_agents([id_]))
    for block in history.blocks:
        await ask(f"block {block.id}", lambda tx, id_=block.id: tx.blocks.get(id_))
    return found


Ask = Callable[[str, Callable[[Transaction], Any]], Coroutine[Any, Any, None]]


async def _ask_for_lists(ask: Ask, history: History) -> None:
    for limit, ascending in product((3, None), (True, False)):
        page = Page(limit=limit, ascending=ascending)
        where = f"limit {limit} ascending {ascending}"
        for order in ("created_at", "updated_at", "last_run_completion"):
            await ask(f"agents by {order} {where}", _agents(AgentQuery(page=page, order_by=order)))
        for order in ("created_at", "last_run_completion", "last_message_at"):
            query = ConversationQuery(page=page, order_by=order, archived=None)
            await ask(f"conversations by {order} {where}", lambda tx, query=query: tx.conversations.find(query))
        await ask(f"blocks {where}", lambda tx, page=page: tx.blocks.find(BlockQuery(page=page)))
        await ask(f"runs {where}", lambda tx, page=page: tx.runs.find(RunQuery(page=page)))
        await ask(f"steps {where}", lambda tx, page=page: tx.steps.find(StepQuery(page=page)))
        await ask(f"providers {where}", lambda tx, page=page: tx.providers.find(ProviderQuery(page=page)))
        for struct, noun in PLAIN_NOUNS.items():
            query = PlainQuery(page=page)
            await ask(f"{noun.name} {where}", lambda tx, struct=struct, query=query: tx.of(struct).find(query))
        await ask(f"tags {where}", lambda tx, page=page: tx.agents.tags(TagQuery(page=page)))
        messages = MessageQuery(limit=limit, ascending=ascending)
        await ask(f"messages {where}", lambda tx, query=messages: tx.messages.find(query))
    for tag in TAGS:
        await ask(f"tagged {tag}", _agents(AgentQuery(tags=(tag,), include_hidden=True)))
        await ask(f"steps tagged {tag}", lambda tx, tag=tag: tx.steps.find(StepQuery(tags=(tag,))))
        await ask(f"blocks tagged {tag}", lambda tx, tag=tag: tx.blocks.find(BlockQuery(tags=(tag,))))
    for word, other in product(WORDS, ("", "fox")):
        query = SearchQuery(text=f"{word} {other}", limit=7)
        await ask(f"search {word} {other}", lambda tx, query=query: tx.messages.search(query))
        await ask(f"named {word}", _agents(AgentQuery(text=word)))
    for digest in (f"digest-{number}" for number in range(5)):
        await ask(f"frame {digest}", lambda tx, digest=digest: tx.steps.frame(digest))
    await ask("all providers", lambda tx: tx.providers.all())
    await ask("active", lambda tx: tx.runs.all_active())
    await ask("queued", lambda tx: tx.runs.queued())
    await ask("free queues", lambda tx: sorted(tx.runs.free_queues(100)))
    await ask("being cancelled", lambda tx: sorted(tx.runs.asked_to_cancel("worker-gone")))
    await ask("live workers", lambda tx: tx.workers.live())


def _agents(query: AgentQuery) -> Callable[[Transaction], list[Agent]]:
    return lambda tx: tx.agents.find(query)


async def _ask_for_conversation(ask: Ask, conversation: Conversation, history: History) -> None:
    id_ = conversation.id
    otids = [message.otid for message in history.messages if message.otid]
    await ask(f"snapshot {id_}", lambda tx: tx.snapshot(id_))
    await ask(f"history {id_}", lambda tx: tx.messages.range(id_, 0, 10**6))
    await ask(f"ids {id_}", lambda tx: tx.messages.ids_from(id_, 2))
    await ask(f"otids {id_}", lambda tx: tx.messages.runs_by_otid(id_, otids))
    await ask(f"queue {id_}", lambda tx: (tx.runs.queued(id_), tx.runs.next_queued(id_), tx.runs.active(id_)))
    for ascending in (True, False):
        query = MessageQuery(conversation_id=id_, limit=4, ascending=ascending)
        await ask(f"page of {id_} {ascending}", lambda tx, query=query: tx.messages.find(query))
    await ask(f"search in {id_}", lambda tx: tx.messages.search(SearchQuery(text="fox", conversation_id=id_)))
    last = history.messages[-1] if history.messages else None
    if last is not None:
        await ask(f"position in {id_}", lambda tx: tx.messages.position(id_, last.id))


async def _ask_for_run(ask: Ask, id_: str) -> None:
    await ask(f"run {id_}", lambda tx: tx.runs.get(id_))
    await ask(f"calls of {id_}", lambda tx: (tx.runs.noted_calls(id_), tx.runs.is_kept(id_)))
    await ask(f"events of {id_}", lambda tx: (tx.events.last(id_), tx.events.kept(id_), tx.events.after(id_, 0)))
    await ask(f"messages of {id_}", lambda tx: tx.messages.find(MessageQuery(run_id=id_)))
    await ask(f"steps of {id_}", lambda tx: tx.steps.find(StepQuery(run_id=id_)))
