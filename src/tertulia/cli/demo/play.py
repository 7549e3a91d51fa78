"""What happens in the demo, in order, and the proof that it happened."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from letta_client import APIError, AsyncLetta

from tertulia.cli.demo.child import ServerDied, server_process
from tertulia.cli.demo.screen import Screen
from tertulia.cli.demo.talk import Talk, TalkFailed, overlapped
from tertulia.settings import EMBEDDED_MODEL

MEMORY: Final = {
    "human": "The user's name is Maya. Maya lives in Porto. Maya has a dog named Biscuit.",
    "persona": "I am a friendly helper who knows Maya well.",
}
# Each conversation's first message holds a word of its own that must not reach the other one.
OPENERS: Final = {
    "kitchen": "Hello! I am baking a sourdough bread today.",
    "garage": "Hello! I am repairing a carburettor today.",
}
OWN_WORDS: Final = {"kitchen": "sourdough", "garage": "carburettor"}
QUESTION: Final = "What is my dog's name?"
ANSWER: Final = "Biscuit"
_TIMEOUT: Final = 120.0

HOW_TO_GO_ON: Final = """
make serve                      # or: tertulia serve
export OPENAI_API_KEY=…         # before you start it, or in .env: adds the models openai/…
export OLLAMA_BASE_URL=…        # ollama/…; README.md lists vLLM, LM Studio, llama.cpp and others
tertulia doctor                 # what is configured, reachable and missing

from letta_client import Letta

client = Letta(base_url="http://127.0.0.1:8283")
agent = client.agents.create(memory_blocks=[{"label": "human", "value": "The user's name is Maya."}])
conversation = client.conversations.create(agent_id=agent.id)
messages = client.conversations.messages
for event in messages.create(conversation.id, input="What is my name?", stream_tokens=True):
    if event.message_type == "assistant_message":
        print(event.content, end="", flush=True)
"""


def play(*, plain: bool) -> int:
    """Run the demo; the exit code is 0 only if everything it claims was seen."""
    screen = Screen(tuple(OPENERS), plain=plain)
    try:
        with ExitStack() as until_the_end:
            started = time.monotonic()
            with screen.waiting("Starting a server on a free port"):
                url = until_the_end.enter_context(server_process())
            screen.check(f"a server answers at {url} after {time.monotonic() - started:.1f} s", passed=True)
            passed = asyncio.run(_play(screen, url))
            screen.say("Stopping the server and removing its data.")
    except (APIError, ServerDied, TalkFailed) as error:
        screen.check(str(error), passed=False)
        return 1
    if not passed:
        return 1
    screen.say("\nThat was it. To go on:\n", "bold")
    screen.code(HOW_TO_GO_ON)
    return 0


async def _play(screen: Screen, url: str) -> bool:
    async with AsyncLetta(base_url=url, timeout=_TIMEOUT, max_retries=0) as client:
        agent = await client.agents.create(
            name="demo",
            model=EMBEDDED_MODEL,
            memory_blocks=[{"label": label, "value": value} for label, value in MEMORY.items()],
        )
        screen.check(f"an agent on {agent.model}, with this memory:", passed=True)
        for label, value in MEMORY.items():
            screen.say(f"      {label}: {value}", "dim")
        talks = [Talk(title, (await client.conversations.create(agent_id=agent.id)).id) for title in OPENERS]
        screen.say("\nTwo conversations with it, at the same time. The model is loaded for the first words.\n", "bold")
        await _both_say(screen, client, talks, OPENERS)
        await _both_say(screen, client, talks, {talk.title: QUESTION for talk in talks})
        await asyncio.gather(*(talk.look_back(client) for talk in talks))
    return prove(screen, talks)


async def _both_say(screen: Screen, client: AsyncLetta, talks: Sequence[Talk], texts: Mapping[str, str]) -> None:
    with screen.conversations():
        for talk in talks:
            screen.user(talk.title, texts[talk.title])
        await asyncio.gather(
            *(talk.say(client, texts[talk.title], partial(screen.token, talk.title)) for talk in talks)
        )


def prove(screen: Screen, talks: Sequence[Talk]) -> bool:
    """Check every claim against what was received, what the server stored and what the model was sent."""
    kitchen, garage = talks
    claims = [
        ("the replies came token by token", all(reply.pieces > 1 for talk in talks for reply in talk.replies)),
        # The first replies also wait for the model and its prompt to be loaded, one after the other.
        ("both at the same time", any(map(overlapped, kitchen.replies, garage.replies))),
        *((f"{talk.title} knows the memory: {ANSWER}", ANSWER in talk.replies[-1].text) for talk in talks),
    ]
    for talk, other in ((kitchen, garage), (garage, kitchen)):
        own, foreign, requests = OWN_WORDS[talk.title], OWN_WORDS[other.title], "\n".join(talk.requests)
        claims += [
            (f"{talk.title} stores '{own}' and no '{foreign}'", own in talk.messages and foreign not in talk.messages),
            (
                f"the model was told '{own}' in {talk.title}, never '{foreign}'",
                own in requests and foreign not in requests,
            ),
            (f"the model was sent {talk.title}'s question with the memory", ANSWER in "".join(talk.requests[-1:])),
        ]
    screen.say("\nWhat this showed\n", "bold")
    for claim, holds in claims:
        screen.check(claim, passed=holds)
    return all(holds for _, holds in claims)
