"""Tools as clients see them, and what they may send to make, change and run one."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET
from pydantic import AliasChoices, Field

from tertulia.api.wire.common import BodyModel, JsonObject, Listed, Name, Prose, RequestModel, ResponseModel, Text
from tertulia.domain.errors import Unsupported
from tertulia.domain.tools import Requirement, StoredTool, ToolOutcome, ToolSpec, ToolType
from tertulia.engine.tools.custom import ToolDraft

_MAX_REQUIREMENTS: Final = 100
_MAX_TAGS: Final = 100
_MAX_SOURCE: Final = 1_000_000
_PACKAGE: Final = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._, -]*\])?$"
_NPM_PACKAGE: Final = r"^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$"
_VERSION: Final = r"^[0-9A-Za-z.!+_-]+$"

SearchMode = Literal["vector", "fts", "hybrid"]


class PackageRequirement(ResponseModel):
    name: str
    version: str | None = None


class PipRequirementParam(RequestModel):
    name: Annotated[str, Field(max_length=200, pattern=_PACKAGE)]
    version: Annotated[str, Field(max_length=100, pattern=_VERSION)] | None = None


class NpmRequirementParam(RequestModel):
    name: Annotated[str, Field(max_length=214, pattern=_NPM_PACKAGE)]
    version: Annotated[str, Field(max_length=100, pattern=_VERSION)] | None = None


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


class _ToolFields(BodyModel):
    """What can be said of a tool both when it is made and when it is changed."""

    source_type: Literal["python", "typescript", "json"] | None = None
    json_schema: JsonObject | None = None
    args_json_schema: JsonObject | None = None
    description: Prose | None = None
    tags: Annotated[Listed[Name], Field(max_length=_MAX_TAGS)] | None = None
    pip_requirements: Annotated[Listed[PipRequirementParam], Field(max_length=_MAX_REQUIREMENTS)] | None = None
    npm_requirements: Annotated[Listed[NpmRequirementParam], Field(max_length=_MAX_REQUIREMENTS)] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool | None = None
    return_char_limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class CreateToolBody(_ToolFields):
    source_code: Annotated[str, Field(max_length=_MAX_SOURCE)]


class UpdateToolBody(_ToolFields):
    """A field that is left out or null stays as it is. A new source makes schema and name anew."""

    source_code: Annotated[str, Field(max_length=_MAX_SOURCE)] | None = None
    metadata_: JsonObject | None = Field(None, validation_alias=AliasChoices("metadata_", "metadata"))


class RunToolBody(BodyModel):
    args: JsonObject = Field(default_factory=dict)


class RunSourceBody(CreateToolBody):
    """Ours by the retired server's example: a source that is run once and not kept."""

    args: JsonObject = Field(default_factory=dict)
    name: Name | None = None
    env_vars: dict[Name, Text] | None = None


class SourceBody(BodyModel):
    code: Annotated[str, Field(max_length=_MAX_SOURCE)]


class SearchToolsBody(BodyModel):
    query: Annotated[str, Field(max_length=10_000)] | None = None
    search_mode: SearchMode = "hybrid"
    tool_types: Listed[ToolType] | None = None
    tags: Listed[Name] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class FoundTool(ResponseModel):
    """``embedded_text`` and ``vector_rank`` are null while there are no embeddings."""

    tool: ToolBody
    embedded_text: None = None
    fts_rank: int | None
    vector_rank: None = None
    combined_score: float


class ToolRunBody(ResponseModel):
    """``func_return`` is what the function returned, as JSON; null after an error, which ``stderr`` has."""

    status: Literal["success", "error"]
    func_return: Any = None
    agent_state: None = None
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    sandbox_config_fingerprint: str | None = None


def tool_body(tool: ToolSpec | StoredTool) -> ToolBody:
    """A tool as it is shown; the built-in ones have no source code."""
    if isinstance(tool, StoredTool):
        return _stored_body(tool)
    return ToolBody(
        id=tool.id,
        tool_type=tool.tool_type,
        name=tool.name,
        description=tool.description,
        json_schema={"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        args_json_schema=tool.parameters,
        tags=list(tool.tags),
        return_char_limit=tool.return_char_limit,
        enable_parallel_execution=tool.parallel,
    )


def _stored_body(tool: StoredTool) -> ToolBody:
    return ToolBody(
        id=tool.id,
        tool_type="custom",
        name=tool.name,
        description=tool.description,
        json_schema=tool.json_schema,
        args_json_schema=tool.args_json_schema,
        tags=list(tool.tags),
        source_type=tool.source_type,
        source_code=tool.source_code,
        return_char_limit=tool.return_char_limit,
        pip_requirements=_packages(tool.pip_requirements),
        npm_requirements=_packages(tool.npm_requirements),
        default_requires_approval=tool.default_requires_approval,
        enable_parallel_execution=tool.enable_parallel_execution,
        metadata_=tool.metadata,
    )


def tool_run_body(outcome: ToolOutcome) -> ToolRunBody:
    """How a call ended; a tool that is not run in the sandbox has no output of its own."""
    failed = outcome.status == "error"
    text = outcome.content if isinstance(outcome.content, str) else None
    stderr = list(outcome.stderr)
    if failed and not stderr and text is not None:
        stderr = [text]
    return ToolRunBody(
        status=outcome.status,
        func_return=None if failed else (text if outcome.value is UNSET else outcome.value),
        stdout=list(outcome.stdout),
        stderr=stderr,
    )


def tool_draft(body: CreateToolBody) -> ToolDraft:
    """Make the draft.

    :raises Unsupported: if it needs packages of npm, which no tool is given.
    """
    fields = _fields(body)
    if "tags" not in body.model_fields_set:
        fields["tags"] = UNSET
    return ToolDraft(source_code=body.source_code, **fields)


def tool_changes(body: UpdateToolBody) -> dict[str, Any]:
    """Only what is to change, as the domain names it."""
    changes = _fields(body)
    if body.source_code is not None:
        changes["source_code"] = body.source_code
    if body.metadata_ is not None:
        changes["metadata"] = body.metadata_
    return changes


def _fields(body: _ToolFields) -> dict[str, Any]:
    if body.npm_requirements:
        raise Unsupported("UNSUPPORTED: 'npm_requirements' are not installed by this server; leave them out.")
    fields = {
        name: value
        for name in (
            "json_schema",
            "args_json_schema",
            "description",
            "default_requires_approval",
            "enable_parallel_execution",
            "return_char_limit",
        )
        if (value := getattr(body, name)) is not None
    }
    if body.source_type is not None:
        fields["source_type"] = "python" if body.source_type == "json" else body.source_type
    if body.tags is not None:
        fields["tags"] = tuple(body.tags)
    if body.pip_requirements is not None:
        fields["pip_requirements"] = tuple(Requirement(each.name, each.version) for each in body.pip_requirements)
    return fields


def _packages(requirements: tuple[Requirement, ...] | None) -> list[PackageRequirement] | None:
    if requirements is None:
        return None
    return [PackageRequirement(name=each.name, version=each.version) for each in requirements]
