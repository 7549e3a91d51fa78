"""Ask every question under every layout, and write what was answered rightly. Takes half an hour."""

import argparse
import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.layouts.candidates import CANDIDATES, WITH_TOOLS
from tertulia.context.compiler import compile_system
from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.engine.default_prompts import default_system
from tertulia.ports.provider import Finished, MemoryView, ModelRequest, TextPiece
from tertulia.providers.local.body import make_body
from tertulia.providers.local.discovery import EMBEDDED_NAME, find_models
from tertulia.providers.local.layouts import Layout
from tertulia.providers.local.reply import ReplyReader
from tertulia.providers.local.runtime import LoadedModel, LoadOptions

_HERE: Final = Path(__file__).parent
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_GROUPS: Final = ("chosen_on", "held_out")
_CHECK: Final = "fresh"
"""Questions that were asked once everything was chosen; 13 were answered rightly then. One wrong answer showed that
"My name is Dr. Owl" was cut in two, which is mended; nothing else was changed for them."""
_WORTH_ASKING_ON: Final = 20
"""Right answers of 32; a layout with fewer is not asked what it makes of a longer conversation."""


def _tool(name: str, *arguments: str) -> ToolSpec:
    properties = {argument: {"type": "string"} for argument in arguments}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return ToolSpec(id=name, name=name, description=name, parameters=parameters, tool_type="letta_core")


_TOOLS: Final = (
    _tool("memory_insert", "label", "new_string"),
    _tool("memory_replace", "label", "old_string", "new_string"),
    _tool("conversation_search", "query"),
)


def _message(at: int, role: Any, text: str) -> Message:
    return Message(
        id=f"message-{at}",
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=(TextPart(text),),
        created_at=_NOW,
    )


def _request(user: dict[str, Any], history: list[list[str]], question: str, *, tools: bool) -> ModelRequest:
    memory = tuple(MemoryView(label, user[label]) for label in ("persona", "human"))
    instructions = default_system("letta_v1_agent")
    said = [text for exchange in history for text in exchange] + [question]
    return ModelRequest(
        model=EMBEDDED_NAME,
        system=_compiled(instructions, memory),
        instructions=instructions,
        memory=memory,
        messages=[_message(at, "assistant" if at % 2 else "user", text) for at, text in enumerate(said)],
        tools=_TOOLS if tools else (),
        settings=ModelSettings(provider_type="openai", max_output_tokens=32),
    )


def _compiled(instructions: str, memory: tuple[MemoryView, ...]) -> str:
    agent = Agent(
        id="agent-1",
        name="measured",
        agent_type="letta_v1_agent",
        system=instructions,
        model=f"local/{EMBEDDED_NAME}",
        created_at=_NOW,
        updated_at=_NOW,
    )
    blocks = [
        Block(id=f"block-{view.label}", label=view.label, value=view.value, created_at=_NOW, updated_at=_NOW)
        for view in memory
    ]
    return compile_system(agent, blocks, "conv-1", _NOW)


class _Asker:
    """One layout on one loaded model."""

    def __init__(self, model: LoadedModel, layout: Layout, *, show_wrong: bool) -> None:
        self._model = model
        self._layout = layout
        self._show_wrong = show_wrong
        self.prompt_tokens: list[int] = []

    async def answer(self, request: ModelRequest) -> str:
        """The text of the reply; empty if it is a tool call."""
        body = make_body(request, self._layout)
        reader = ReplyReader(request.model, body.held_to)
        text = ""
        async with aclosing(self._model.chat(body.data, body.tokens)) as chunks:
            async for chunk in chunks:
                text += "".join(event.text for event in reader.read(chunk) if isinstance(event, TextPiece))
        finished: Finished = reader.finish()
        if finished.usage:
            self.prompt_tokens.append(finished.usage.prompt_tokens)
        return text

    async def right(self, user: dict[str, Any], history: list[list[str]], question: list[Any], *, tools: bool) -> bool:
        answer = await self.answer(_request(user, history, question[0], tools=tools))
        right = any(word in answer.lower() for word in question[1])
        if self._show_wrong and not right:
            print("   ", question[0], "->", answer[:100])
        return right


async def _measure(asker: _Asker, users: dict[str, Any], *, tools: bool) -> dict[str, int]:
    """Right answers: about memory, about memory after small talk, and about what was told in the conversation."""

    async def about_memory(group: str, history: list[list[str]]) -> int:
        asked = [(user, question) for user in users[group] for question in user["questions"]]
        return sum([await asker.right(user, history, question, tools=tools) for user, question in asked])

    result = {group: await about_memory(group, []) for group in _GROUPS}
    result[_CHECK] = await about_memory(_CHECK, [])
    if sum(result[group] for group in _GROUPS) >= _WORTH_ASKING_ON:
        for group in _GROUPS:
            result[f"{group}_after_small_talk"] = await about_memory(group, users["small_talk"])
        told = [
            (users["chosen_on"][at % 4], [[statement, "I see!"], users["small_talk"][0]], [question, words])
            for at, (statement, question, words) in enumerate(users["told_before"])
        ]
        right = [await asker.right(user, said, question, tools=tools) for user, said, question in told]
        result["told_before"] = sum(right)
    result["prompt_tokens"] = round(sum(asker.prompt_tokens) / len(asker.prompt_tokens))
    return result


def _table(results: dict[str, dict[str, int]]) -> str:
    heads = {
        "chosen_on": "chosen on /16",
        "held_out": "held out /16",
        "fresh": "fresh /16",
        "chosen_on_after_small_talk": "chosen on, after small talk /16",
        "held_out_after_small_talk": "held out, after small talk /16",
        "told_before": "told before /8",
        "prompt_tokens": "prompt tokens",
    }
    lines = [f"| layout | {' | '.join(heads.values())} |", "|---" * (len(heads) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(str(result.get(column, '–')) for column in heads)} |"
        for name, result in results.items()
    ]
    return "\n".join(lines)


async def _main(only: str, *, show_wrong: bool) -> None:
    users: dict[str, Any] = json.loads((_HERE / "users.json").read_text())
    weights = find_models(None)[EMBEDDED_NAME]
    model = await asyncio.to_thread(LoadedModel, LoadOptions(path=weights.path, context=8192, threads=1))
    results: dict[str, dict[str, dict[str, int]]] = {}
    try:
        for kind, names in (("without tools", tuple(CANDIDATES)), ("with tools", WITH_TOOLS)):
            of_kind, tools = results.setdefault(kind, {}), kind == "with tools"
            for name in names:
                layout = CANDIDATES[name]
                if only in name:
                    of_kind[name] = await _measure(_Asker(model, layout, show_wrong=show_wrong), users, tools=tools)
                    print(kind, "|", name, of_kind[name], flush=True)
    finally:
        await asyncio.to_thread(model.close)
    if not only:
        text = "\n\n".join(f"## {kind.capitalize()}\n\n{_table(of_kind)}" for kind, of_kind in results.items())
        (_HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (_HERE / "results.md").write_text(f"# Layouts for {EMBEDDED_NAME}, greedy\n\n{text}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="measure the layouts whose name contains this; writes no results")
    parser.add_argument("--wrong", action="store_true", help="show the wrong answers")
    options = parser.parse_args()
    asyncio.run(_main(options.only, show_wrong=options.wrong))
