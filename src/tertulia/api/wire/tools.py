"""Tools as clients see them. The built-in ones have no source code to show."""

from typing import Any

from tertulia.api.wire.common import ResponseModel
from tertulia.domain.tools import ToolSpec, ToolType


class PackageRequirement(ResponseModel):
    name: str
    version: str | None = None


class ToolBody(ResponseModel):
    id: str
    tool_type: ToolType
    name: str
    description: str
    json_schema: dict[str, Any]
    args_json_schema: dict[str, Any] | None = None
    tags: list[str]
    source_type: str | None = None
    source_code: str | None = None
    return_char_limit: int
    pip_requirements: list[PackageRequirement] | None = None
    npm_requirements: list[PackageRequirement] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool
    project_id: str | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    metadata_: dict[str, Any] | None = None


def tool_body(spec: ToolSpec) -> ToolBody:
    return ToolBody(
        id=spec.id,
        tool_type=spec.tool_type,
        name=spec.name,
        description=spec.description,
        json_schema={"name": spec.name, "description": spec.description, "parameters": spec.parameters},
        args_json_schema=spec.parameters,
        tags=list(spec.tags),
        return_char_limit=spec.return_char_limit,
        enable_parallel_execution=spec.parallel,
    )
