"""``/v1/agents``: making, showing, changing and removing agents, and what hangs on them."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from tertulia.api.conversation_ids import ConversationFilter
from tertulia.api.deps import CurrentServices, Services
from tertulia.api.model_changes import adapt_agent
from tertulia.api.pages import After, Before, Limit, NewestFirst, Order, page, slice_of
from tertulia.api.routing import api_router
from tertulia.api.wire.agent_state import AgentStateBody, MemoryBody, Relationship, agent_state, check_relationships
from tertulia.api.wire.agents import (
    ApprovalOfToolBody,
    CreateAgentBody,
    UpdateAgentBody,
    agent_changes,
    agent_draft,
    refuse_unbuilt,
)
from tertulia.api.wire.context_window import ContextWindowBody, context_window_body
from tertulia.api.wire.echoes import MAY_REPEAT, without_echo
from tertulia.api.wire.embeddings import embedding_handle
from tertulia.api.wire.model_settings import settings_from_wire
from tertulia.api.wire.shorthands import Told, check_description, read_words, with_shorthands
from tertulia.api.wire.tools import RunToolBody, ToolBody, ToolRunBody, tool_body, tool_run_body
from tertulia.domain.errors import InvalidArgument, Unprocessable
from tertulia.domain.models import ModelSettings
from tertulia.domain.runs import StopReason
from tertulia.ports.queries import AgentQuery

router = api_router("agents")

Include = Annotated[list[Relationship] | None, Query(description="Relationships to show. All are always shown.")]
IncludeOlder = Annotated[list[str] | None, Query(deprecated=True, description="An older name for `include`.")]
AgentOrder = Literal["created_at", "updated_at", "last_run_completion"]


async def _agent_filter(
    *,
    name: str | None = None,
    query_text: str | None = None,
    tags: Annotated[list[str] | None, Query()] = None,
    match_all_tags: bool = False,
    project_id: str | None = None,
    last_stop_reason: StopReason | None = None,
    identity_id: str | None = None,
    identifier_keys: Annotated[list[str] | None, Query()] = None,
    template_id: str | None = None,
    base_template_id: str | None = None,
    created_by_id: str | None = None,
) -> AgentQuery | None:
    """Which agents are meant; None where no agent passes: this release has no identities, templates or users."""
    if identity_id or identifier_keys or template_id or base_template_id or created_by_id:
        return None
    return AgentQuery(
        name=name,
        text=query_text,
        tags=tuple(tags or ()),
        match_all_tags=match_all_tags,
        project_id=project_id,
        last_stop_reason=last_stop_reason,
    )


AgentFilter = Annotated[AgentQuery | None, Depends(_agent_filter)]


@router.get("/v1/agents", operation_id="list_agents")
async def list_agents(
    *,
    services: CurrentServices,
    wanted: AgentFilter,
    before: Before = None,
    after: After = None,
    limit: Limit = 50,
    order: Order | None = None,
    order_by: AgentOrder | None = None,
    ascending: Annotated[bool | None, Query(deprecated=True)] = None,
    sort_by: Annotated[AgentOrder | None, Query(deprecated=True)] = None,
    include: Include = None,
    include_relationships: IncludeOlder = None,
) -> list[AgentStateBody]:
    check_relationships(include_relationships)
    if wanted is None:
        return []
    asked = page(limit, after, before, ascending=order == "asc" if order else bool(ascending))
    views = await services.agents.find(replace(wanted, page=asked, order_by=order_by or sort_by or "created_at"))
    return [agent_state(view) for view in views]


@router.get("/v1/agents/count", operation_id="count_agents")
async def count_agents(services: CurrentServices, wanted: AgentFilter) -> int:
    """How many agents a list with these filters has."""
    return 0 if wanted is None else await services.store.read(lambda tx: tx.agents.count(wanted))


@router.post("/v1/agents", operation_id="create_agent")
async def create_agent(body: CreateAgentBody, services: CurrentServices) -> AgentStateBody:
    refuse_unbuilt(body)
    words = read_words(body)
    settings = body.model_settings and settings_from_wire(body.model_settings)
    if words.settings or words.described:
        settings = _merge_settings(services, words, settings, words.model or services.catalogue.default_model)
    if body.embedding_config:
        handle = embedding_handle(body.embedding_config, body.embedding, services.catalogue)
        body = body.model_copy(update={"embedding": handle})
    draft = agent_draft(body, words.model, settings, words.context_window_limit)
    return agent_state(await services.agents.create(draft))


@router.get("/v1/agents/{agent_id}", operation_id="retrieve_agent")
async def retrieve_agent(
    *,
    agent_id: str,
    services: CurrentServices,
    include: Include = None,
    include_relationships: IncludeOlder = None,
) -> AgentStateBody:
    check_relationships(include_relationships)
    return agent_state(await services.agents.get(agent_id))


@router.patch("/v1/agents/{agent_id}", operation_id="modify_agent")
async def modify_agent(agent_id: str, body: UpdateAgentBody, services: CurrentServices) -> AgentStateBody:
    """A field left out is untouched; null clears what can be empty."""
    shown = None
    if body.model_fields_set & MAY_REPEAT:
        view = await services.agents.get(agent_id)
        state = agent_state(view)
        body, shown = without_echo(body, state, view.agent.model_settings), state.llm_config
    refuse_unbuilt(body)
    words = read_words(body, shown)
    changes: dict[str, Any] = agent_changes(body)
    if body.embedding_config:
        changes["embedding"] = embedding_handle(body.embedding_config, body.embedding, services.catalogue)
    if words.model is not None:
        changes["model"] = words.model
    if words.context_window_limit is not None or "context_window_limit" in body.model_fields_set:
        changes["context_window_limit"] = words.context_window_limit
    if "model_settings" in body.model_fields_set:
        changes["model_settings"] = body.model_settings and settings_from_wire(body.model_settings)
    if words.model or words.settings or words.described:
        agent = (await services.agents.get(agent_id)).agent
        model = words.model or agent.model
        if model != agent.model:
            adapt_agent(services, agent, model, changes)
        if words.settings or words.described:
            given = body.model_settings and settings_from_wire(body.model_settings)
            stored = (
                None
                if "model_settings" in body.model_fields_set
                else changes.get("model_settings", agent.model_settings)
            )
            changes["model_settings"] = _merge_settings(services, words, given, model, stored)
    return agent_state(await services.agents.update(agent_id, changes))


@router.delete("/v1/agents/{agent_id}", operation_id="delete_agent", response_model=None)
async def delete_agent(agent_id: str, services: CurrentServices) -> None:
    """Removes its conversations too. Its memory blocks stay."""
    await services.agents.delete(agent_id)


@router.post("/v1/agents/{agent_id}/recompile", operation_id="recompile_agent")
async def recompile_agent(
    *,
    agent_id: str,
    services: CurrentServices,
    dry_run: bool = False,
    update_timestamp: bool = False,
) -> str:
    """The system prompt of the agent's default conversation, compiled now."""
    return await services.agents.recompile(agent_id, dry_run=dry_run, update_timestamp=update_timestamp)


@router.get("/v1/agents/{agent_id}/core-memory", operation_id="retrieve_agent_memory")
async def retrieve_agent_memory(agent_id: str, services: CurrentServices) -> MemoryBody:
    """The agent's memory as the agent itself shows it."""
    return agent_state(await services.agents.get(agent_id)).memory


@router.get("/v1/agents/{agent_id}/context", operation_id="retrieve_agent_context_window")
async def retrieve_agent_context_window(
    agent_id: str, services: CurrentServices, conversation_id: ConversationFilter = None
) -> ContextWindowBody:
    """What the model is shown for the next message of a conversation, each part with its tokens."""
    stored_id = services.conversations.resolve(conversation_id or "default", agent_id)
    return context_window_body(await services.context_windows.of(stored_id, agent_id))


@router.get("/v1/agents/{agent_id}/tools", operation_id="list_tools_for_agent")
async def list_tools_for_agent(
    *,
    agent_id: str,
    services: CurrentServices,
    asked: NewestFirst,
) -> list[ToolBody]:
    tools = (await services.agents.get(agent_id)).tools
    return [tool_body(tools[i]) for i in slice_of([tool.id for tool in tools], asked)]


@router.patch("/v1/agents/{agent_id}/tools/attach/{tool_id}", operation_id="attach_tool_to_agent")
async def attach_tool_to_agent(agent_id: str, tool_id: str, services: CurrentServices) -> AgentStateBody:
    return agent_state(await services.agents.attach_tool(agent_id, tool_id))


@router.patch("/v1/agents/{agent_id}/tools/detach/{tool_id}", operation_id="detach_tool_from_agent")
async def detach_tool_from_agent(agent_id: str, tool_id: str, services: CurrentServices) -> AgentStateBody:
    return agent_state(await services.agents.detach_tool(agent_id, tool_id))


@router.post("/v1/agents/{agent_id}/tools/{tool_name}/run", operation_id="run_tool_for_agent")
async def run_tool_for_agent(
    agent_id: str, tool_name: str, services: CurrentServices, body: RunToolBody | None = None
) -> ToolRunBody:
    """Run one of the agent's tools. Neither tool rules nor approvals are asked: it is the client's own call."""
    arguments = body.args if body else {}
    return tool_run_body(await services.tool_runs.of_agent(agent_id, tool_name, arguments))


@router.patch("/v1/agents/{agent_id}/tools/approval/{tool_name}", operation_id="modify_approval_for_tool")
async def modify_approval_for_tool(
    *,
    agent_id: str,
    tool_name: str,
    services: CurrentServices,
    requires_approval: Annotated[bool | None, Query(deprecated=True)] = None,
    body: ApprovalOfToolBody | None = None,
) -> AgentStateBody:
    """Whether a person has to agree before the agent's calls of the tool are run."""
    said = {requires_approval, body.requires_approval if body else None} - {None}
    if not said:
        raise Unprocessable("'requires_approval' in the body is missing; add it.")
    if len(said) > 1:
        raise InvalidArgument(
            "INVALID_ARGUMENT: 'requires_approval' in the body and in the query contradict each other."
        )
    return agent_state(await services.agents.set_approval(agent_id, tool_name, required=True in said))


def _merge_settings(
    services: Services, words: Told, given: ModelSettings | None, model: str | None, stored: ModelSettings | None = None
) -> ModelSettings | None:
    """The settings a request and its older words come to; ``stored`` are those the words change, if it gives none."""
    if model is None:
        return given  # the engine refuses an agent without a model
    try:
        card = services.catalogue.card(model)
    except InvalidArgument:
        # A model can be named before its provider is configured; then only the settings tell of what type it is.
        settings = given or stored
        if settings is None:
            raise
        return with_shorthands(settings, words.settings, settings.provider_type, overriding=given is None)
    check_description(words, card)
    kind = services.catalogue.settings_type(model)
    fitting = stored if stored and stored.provider_type == kind else None
    return with_shorthands(given or fitting, words.settings, kind, overriding=given is None)
