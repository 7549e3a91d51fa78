"""What a Converse request may contain, checked the way the service checks it, and a little more strictly.

Shapes are those of AWS's own description. Some models let reasoning be left out or be without a signature; here what
comes back must be what was issued, and only where the model's maker wants it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support.bedrock_shapes import mismatches

if TYPE_CHECKING:
    from collections.abc import Iterator

Block = dict[str, Any]

_SIDES = {
    "user": {"text", "image", "toolResult", "cachePoint"},
    "assistant": {"text", "toolUse", "reasoningContent"},
}
_CACHE_POINTS = 4


class Maker:
    """What the models of one maker take, told by the model's id."""

    def __init__(self, model: str) -> None:
        self.claude = "anthropic.claude-" in model
        self.own_choice = re.search(r"claude-(?:opus|sonnet|haiku)-4-[5-9]", model) is not None
        self.nova = "amazon.nova-" in model
        self.caches = self.nova or (
            self.claude and not any(early in model for early in ("claude-3-opus", "3-5-sonnet"))
        )
        self.forces = (
            {"any", "tool"} if self.claude or self.nova else {"any"} if "mistral-large" in model else set[str]()
        )


def find_violations(model: str, body: Block, issued: dict[str, str]) -> list[str]:
    """Why the service would answer 400 to this request; empty when it would not.

    `issued` has the signatures of reasoning, with its text, and the redacted data, with itself.
    """
    found = list(mismatches("ConverseStreamRequest", body))
    if found:
        return found
    maker = Maker(model)
    return [
        *_turns(body.get("messages", [])),
        *_pairs(body.get("messages", [])),
        *_tools(body, maker),
        *_choice(body, maker),
        *_caching(body, maker),
        *_reasoning(body["messages"], maker, issued),
        *_results(body["messages"], maker),
        *_output(body),
    ]


def _turns(messages: list[Block]) -> Iterator[str]:
    if not messages:
        yield "The messages field is empty."
        return
    if messages[0]["role"] != "user":
        yield "A conversation must start with a user message. Try again with a conversation that starts with one."
    if messages[-1]["role"] != "user":
        yield "The model that you are using requires the last turn in the conversation to be a user message."
    for index, message in enumerate(messages):
        if index and message["role"] == messages[index - 1]["role"]:
            yield f"messages.{index}: roles must alternate between user and assistant"
        if not message["content"]:
            yield f"The content field in the Message object at messages.{index} is empty."
        for place, block in enumerate(message["content"]):
            kind = next(iter(block))
            if kind not in _SIDES[message["role"]]:
                yield f"messages.{index}.content.{place}: {kind} does not belong to the {message['role']}"
            if kind == "text" and not block["text"].strip():
                yield f"The text field in the ContentBlock object at messages.{index}.content.{place} is blank."


def _pairs(messages: list[Block]) -> Iterator[str]:
    asked: list[str] = []
    for index, message in enumerate(messages):
        kinds = [next(iter(block)) for block in message["content"]]
        answered = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        if sorted(answered) != sorted(asked):
            yield f"Expected toolResult blocks at messages.{index}.content for the following Ids: {asked}"
        if "toolResult" in kinds[len(answered) :]:
            yield f"messages.{index}: results of tools come first"
        asked = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        if len(set(asked)) != len(asked):
            yield f"messages.{index} contains duplicate Ids: {asked}"
        for block in message["content"]:
            if "toolUse" in block and not isinstance(block["toolUse"]["input"], dict):
                yield f"messages.{index}: the input of a toolUse must be an object"


def _tools(body: Block, maker: Maker) -> Iterator[str]:
    used = any(
        "toolUse" in block or "toolResult" in block for message in body["messages"] for block in message["content"]
    )
    if "toolConfig" not in body:
        if used:
            yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        return
    specs = [tool["toolSpec"] for tool in body["toolConfig"]["tools"] if "toolSpec" in tool]
    if len(specs) != len(body["toolConfig"]["tools"]) and not maker.claude:
        yield "#/toolConfig/tools: extraneous key [cachePoint] is not permitted"
    names = [spec["name"] for spec in specs]
    if len(set(names)) != len(names):
        yield f"The tools {names} have names in common"
    for spec in specs:
        if spec["inputSchema"]["json"].get("type") != "object":
            yield f"The inputSchema of {spec['name']} must be of type object"
        if not spec.get("description", "-").strip():
            yield f"The description of {spec['name']} is blank"


def _choice(body: Block, maker: Maker) -> Iterator[str]:
    choice: Block = body.get("toolConfig", {}).get("toolChoice", {})
    if set(choice) - maker.forces - {"auto"}:
        yield f"This model doesn't support the toolConfig.toolChoice.{next(iter(choice))} field."
    names = [tool["toolSpec"]["name"] for tool in body.get("toolConfig", {}).get("tools", []) if "toolSpec" in tool]
    if "tool" in choice and choice["tool"]["name"] not in names:
        yield f"There is no tool {choice['tool']['name']}"
    if "additionalModelRequestFields" not in body:
        return
    extra: Block = body["additionalModelRequestFields"]
    if not maker.own_choice or set(extra) - {"tool_choice"}:
        yield f"#: extraneous key {sorted(extra)} is not permitted"
        return
    own: Block = extra["tool_choice"]
    if not names:
        yield "tool_choice may only be specified while providing tools"
    if choice and "type" in own:
        yield "The additional field tool_choice/type conflicts with the existing field toolConfig.toolChoice."
    if not choice and own.get("type") not in {"auto", "any", "none"}:
        yield "missing field `type`"
    if set(own) - {"type", "disable_parallel_tool_use"} or (own.get("type") == "none" and len(own) > 1):
        yield f"tool_choice: {own}"


def _caching(body: Block, maker: Maker) -> Iterator[str]:
    lists = [body.get("system", []), *(message["content"] for message in body["messages"])]
    points = 0
    for blocks in lists:
        for index, block in enumerate(blocks):
            if "cachePoint" not in block:
                continue
            points += 1
            before: Block = blocks[index - 1] if index else {}
            if not before or (maker.nova and "toolResult" in before):
                yield "#/messages: extraneous key [cachePoint] is not permitted"
    if points and not maker.caches:
        yield "You invoked an unsupported model or your request did not allow prompt caching."
    if points > _CACHE_POINTS:
        yield f"A maximum of {_CACHE_POINTS} cache points is allowed"
    if any(not block.get("text", "-").strip() for block in body.get("system", [])):
        yield "The text field in the system is blank"


def _reasoning(messages: list[Block], maker: Maker, issued: dict[str, str]) -> Iterator[str]:
    for index, message in enumerate(messages):
        if "reasoningContent" in message["content"][-1:][0]:
            yield f"messages.{index}: The final block in an assistant message cannot be `thinking`."
        for block in message["content"]:
            if "reasoningContent" not in block:
                continue
            content = block["reasoningContent"]
            if not maker.claude and not maker.nova:
                yield "This model's messages cannot contain reasoning content. Please remove it and try again."
            if "redactedContent" in content:
                known = content["redactedContent"] in issued
            else:
                told = content["reasoningText"]
                known = "signature" in told and issued.get(told["signature"]) == told["text"]
            if not known:
                yield f"messages.{index}: Invalid `signature` in `thinking` block"


def _results(messages: list[Block], maker: Maker) -> Iterator[str]:
    for index, message in enumerate(messages):
        for block in message["content"]:
            result = block.get("toolResult", {"content": [{"text": "-"}]})
            if not result["content"]:
                yield f"messages.{index}: the content of a toolResult is empty"
            if any("text" in piece and not piece["text"].strip() for piece in result["content"]):
                yield f"messages.{index}: a text field in a toolResult is blank"
            rich = "status" in result or any("image" in piece for piece in result["content"])
            if rich and not (maker.claude or maker.nova):
                yield f"messages.{index}: this model doesn't support a status or images in a toolResult"


def _output(body: Block) -> Iterator[str]:
    if "outputConfig" not in body:
        return
    structure = body["outputConfig"]["textFormat"]["structure"]
    try:
        schema = json.loads(structure["jsonSchema"]["schema"])
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        yield "outputConfig.textFormat: the schema is no JSON object"
