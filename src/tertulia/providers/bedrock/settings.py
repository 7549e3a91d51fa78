"""What a user may set for a model behind Bedrock's Converse, and what it becomes on the wire. A table, no behaviour."""

from typing import Final

from tertulia.providers.bedrock.models import Family
from tertulia.providers.setting_rules import Implied, Refused, Rules, Sent

MAX_TEMPERATURE: Final = 1.0

JSON_SCHEMA: Final = "response_format.json_schema"
PARALLEL: Final = "parallel_tool_calls"

_EVERYWHERE: Final[Rules] = {
    "max_output_tokens": Sent("inferenceConfig.maxTokens"),
    "temperature": Sent("inferenceConfig.temperature", note=f"{MAX_TEMPERATURE:g} at most"),
    PARALLEL: Implied(
        "the model calls tools in parallel as it sees fit",
        refused={False: "Converse has no parameter that forbids it, and only Claude models since 4.5 take their own"},
    ),
    "response_format.text": Implied("Converse answers in text unless told otherwise"),
    "response_format.json_object": Refused("Converse takes a json_schema only"),
    JSON_SCHEMA: Sent(
        "outputConfig.textFormat.structure.jsonSchema.schema",
        note="the schema as JSON text; `outputConfig.textFormat.type` is `json_schema`",
    ),
}
_CLAUDE: Final[Rules] = {
    **_EVERYWHERE,
    PARALLEL: Sent(
        "additionalModelRequestFields.tool_choice.disable_parallel_tool_use",
        values={True: False, False: True},
        note="of Claude models since 4.5, where tools are offered; others refuse it",
    ),
}


def rules_for(family: Family) -> Rules:
    return _CLAUDE if family.own_tool_choice else _EVERYWHERE
