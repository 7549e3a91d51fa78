"""The 129 operations of the API as ``letta-client`` 1.12.1 calls them, and which of them this release has built.

The one list behind three things: the answers to operations that are not built, the allowed methods in a 405, and the
paths and ids in the OpenAPI document. Paths are written as the SDK asks for them.
"""

from typing import Final, NamedTuple

BUILT: Final = True
NOT_YET: Final = False


class Operation(NamedTuple):
    """``id`` is the operation id of Letta's OpenAPI document, ``sdk`` the method of the client."""

    method: str
    path: str
    id: str
    sdk: str
    built: bool

    @property
    def route_path(self) -> str:
        """The path as a route declares it."""
        return self.path.rstrip("/")


# fmt: off
# ruff: noqa: E501  (a table reads best with one operation a line)
OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("GET", "/v1/agents/", "list_agents", "agents.list", BUILT),
    Operation("POST", "/v1/agents/", "create_agent", "agents.create", BUILT),
    Operation("POST", "/v1/agents/import", "import_agent", "agents.import_file", NOT_YET),
    Operation("DELETE", "/v1/agents/{agent_id}", "delete_agent", "agents.delete", BUILT),
    Operation("GET", "/v1/agents/{agent_id}", "retrieve_agent", "agents.retrieve", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}", "modify_agent", "agents.update", BUILT),
    Operation("GET", "/v1/agents/{agent_id}/archival-memory", "list_passages", "agents.passages.list", NOT_YET),
    Operation("POST", "/v1/agents/{agent_id}/archival-memory", "create_passage", "agents.passages.create", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/archival-memory/search", "search_archival_memory", "agents.passages.search", NOT_YET),
    Operation("DELETE", "/v1/agents/{agent_id}/archival-memory/{memory_id}", "delete_passage", "agents.passages.delete", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/archives/attach/{archive_id}", "attach_archive_to_agent", "agents.archives.attach", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/archives/detach/{archive_id}", "detach_archive_from_agent", "agents.archives.detach", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/core-memory/blocks", "list_core_memory_blocks", "agents.blocks.list", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}", "attach_core_memory_block", "agents.blocks.attach", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}", "detach_core_memory_block", "agents.blocks.detach", BUILT),
    Operation("GET", "/v1/agents/{agent_id}/core-memory/blocks/{block_label}", "retrieve_core_memory_block", "agents.blocks.retrieve", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/core-memory/blocks/{block_label}", "modify_core_memory_block", "agents.blocks.update", BUILT),
    Operation("GET", "/v1/agents/{agent_id}/export", "export_agent", "agents.export_file", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/files", "list_files_for_agent", "agents.files.list", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/files/close-all", "close_all_files_for_agent", "agents.files.close_all", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/files/{file_id}/close", "close_file_for_agent", "agents.files.close", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/files/{file_id}/open", "open_file_for_agent", "agents.files.open", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/folders", "list_folders_for_agent", "agents.folders.list", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/folders/attach/{folder_id}", "attach_folder_to_agent", "agents.folders.attach", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/folders/detach/{folder_id}", "detach_folder_from_agent", "agents.folders.detach", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/identities/attach/{identity_id}", "attach_identity_to_agent", "agents.identities.attach", NOT_YET),
    Operation("PATCH", "/v1/agents/{agent_id}/identities/detach/{identity_id}", "detach_identity_from_agent", "agents.identities.detach", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/messages", "list_messages", "agents.messages.list", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/messages", "send_message", "agents.messages.create", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/messages/async", "create_agent_message_async", "agents.messages.create_async", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/messages/cancel", "cancel_message", "agents.messages.cancel", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/messages/stream", "create_agent_message_stream", "agents.messages.stream", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/recompile", "recompile_agent", "agents.recompile", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/reset-messages", "reset_messages", "agents.messages.reset", BUILT),
    Operation("GET", "/v1/agents/{agent_id}/schedule", "scheduledMessages.listScheduledMessages", "agents.schedule.list", NOT_YET),
    Operation("POST", "/v1/agents/{agent_id}/schedule", "scheduledMessages.scheduleAgentMessage", "agents.schedule.create", NOT_YET),
    Operation("DELETE", "/v1/agents/{agent_id}/schedule/{scheduled_message_id}", "scheduledMessages.deleteScheduledMessage", "agents.schedule.delete", NOT_YET),
    Operation("GET", "/v1/agents/{agent_id}/schedule/{scheduled_message_id}", "scheduledMessages.retrieveScheduledMessage", "agents.schedule.retrieve", NOT_YET),
    Operation("POST", "/v1/agents/{agent_id}/summarize", "summarize_messages", "agents.messages.compact", BUILT),
    Operation("GET", "/v1/agents/{agent_id}/tools", "list_tools_for_agent", "agents.tools.list", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/tools/approval/{tool_name}", "modify_approval_for_tool", "agents.tools.update_approval", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/tools/attach/{tool_id}", "attach_tool_to_agent", "agents.tools.attach", BUILT),
    Operation("PATCH", "/v1/agents/{agent_id}/tools/detach/{tool_id}", "detach_tool_from_agent", "agents.tools.detach", BUILT),
    Operation("POST", "/v1/agents/{agent_id}/tools/{tool_name}/run", "run_tool_for_agent", "agents.tools.run", NOT_YET),
    Operation("GET", "/v1/archives/", "list_archives", "archives.list", BUILT),
    Operation("POST", "/v1/archives/", "create_archive", "archives.create", BUILT),
    Operation("DELETE", "/v1/archives/{archive_id}", "delete_archive", "archives.delete", BUILT),
    Operation("GET", "/v1/archives/{archive_id}", "retrieve_archive", "archives.retrieve", BUILT),
    Operation("PATCH", "/v1/archives/{archive_id}", "modify_archive", "archives.update", BUILT),
    Operation("POST", "/v1/archives/{archive_id}/passages", "create_passage_in_archive", "archives.passages.create", NOT_YET),
    Operation("POST", "/v1/archives/{archive_id}/passages/batch", "create_passages_in_archive", "archives.passages.create_many", NOT_YET),
    Operation("DELETE", "/v1/archives/{archive_id}/passages/{passage_id}", "delete_passage_from_archive", "archives.passages.delete", NOT_YET),
    Operation("GET", "/v1/blocks/", "list_blocks", "blocks.list", BUILT),
    Operation("POST", "/v1/blocks/", "create_block", "blocks.create", BUILT),
    Operation("DELETE", "/v1/blocks/{block_id}", "delete_block", "blocks.delete", BUILT),
    Operation("GET", "/v1/blocks/{block_id}", "retrieve_block", "blocks.retrieve", BUILT),
    Operation("PATCH", "/v1/blocks/{block_id}", "modify_block", "blocks.update", BUILT),
    Operation("GET", "/v1/blocks/{block_id}/agents", "list_agents_for_block", "blocks.agents.list", BUILT),
    Operation("GET", "/v1/client-side-access-tokens", "clientSideAccessTokens.listClientSideAccessTokens", "access_tokens.list", NOT_YET),
    Operation("POST", "/v1/client-side-access-tokens", "clientSideAccessTokens.createClientSideAccessToken", "access_tokens.create", NOT_YET),
    Operation("DELETE", "/v1/client-side-access-tokens/{token}", "clientSideAccessTokens.deleteClientSideAccessToken", "access_tokens.delete", NOT_YET),
    Operation("GET", "/v1/conversations/", "list_conversations", "conversations.list", BUILT),
    Operation("POST", "/v1/conversations/", "create_conversation", "conversations.create", BUILT),
    Operation("DELETE", "/v1/conversations/{conversation_id}", "delete_conversation", "conversations.delete", BUILT),
    Operation("GET", "/v1/conversations/{conversation_id}", "retrieve_conversation", "conversations.retrieve", BUILT),
    Operation("PATCH", "/v1/conversations/{conversation_id}", "update_conversation", "conversations.update", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/cancel", "cancel_conversation", "conversations.cancel", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/compact", "compact_conversation", "conversations.messages.compact", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/fork", "fork_conversation", "conversations.fork", BUILT),
    Operation("GET", "/v1/conversations/{conversation_id}/messages", "list_conversation_messages", "conversations.messages.list", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/messages", "send_conversation_message", "conversations.messages.create", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/recompile", "recompile_conversation", "conversations.recompile", BUILT),
    Operation("POST", "/v1/conversations/{conversation_id}/stream", "retrieve_conversation_stream", "conversations.messages.stream", BUILT),
    Operation("GET", "/v1/environments", "environments.listConnections", "environments.list", NOT_YET),
    Operation("POST", "/v1/environments/{connection_id}/messages", "environments.sendMessage", "environments.send_message", NOT_YET),
    Operation("GET", "/v1/environments/{device_id}", "environments.getConnection", "environments.retrieve", NOT_YET),
    Operation("GET", "/v1/folders/", "list_folders", "folders.list", NOT_YET),
    Operation("POST", "/v1/folders/", "create_folder", "folders.create", NOT_YET),
    Operation("DELETE", "/v1/folders/{folder_id}", "delete_folder", "folders.delete", NOT_YET),
    Operation("GET", "/v1/folders/{folder_id}", "retrieve_folder", "folders.retrieve", NOT_YET),
    Operation("PATCH", "/v1/folders/{folder_id}", "modify_folder", "folders.update", NOT_YET),
    Operation("GET", "/v1/folders/{folder_id}/agents", "list_agents_for_folder", "folders.agents.list", NOT_YET),
    Operation("GET", "/v1/folders/{folder_id}/files", "list_files_for_folder", "folders.files.list", NOT_YET),
    Operation("GET", "/v1/folders/{folder_id}/files/{file_id}", "retrieve_file", "folders.files.retrieve", NOT_YET),
    Operation("POST", "/v1/folders/{folder_id}/upload", "upload_file_to_folder", "folders.files.upload", NOT_YET),
    Operation("DELETE", "/v1/folders/{folder_id}/{file_id}", "delete_file_from_folder", "folders.files.delete", NOT_YET),
    Operation("GET", "/v1/health/", "check_health", "health", BUILT),
    Operation("GET", "/v1/mcp-servers/", "mcp_list_mcp_servers", "mcp_servers.list", NOT_YET),
    Operation("POST", "/v1/mcp-servers/", "mcp_create_mcp_server", "mcp_servers.create", NOT_YET),
    Operation("DELETE", "/v1/mcp-servers/{mcp_server_id}", "mcp_delete_mcp_server", "mcp_servers.delete", NOT_YET),
    Operation("GET", "/v1/mcp-servers/{mcp_server_id}", "mcp_retrieve_mcp_server", "mcp_servers.retrieve", NOT_YET),
    Operation("PATCH", "/v1/mcp-servers/{mcp_server_id}", "mcp_update_mcp_server", "mcp_servers.update", NOT_YET),
    Operation("PATCH", "/v1/mcp-servers/{mcp_server_id}/refresh", "mcp_refresh_mcp_server_tools", "mcp_servers.refresh", NOT_YET),
    Operation("GET", "/v1/mcp-servers/{mcp_server_id}/tools", "mcp_list_tools_for_mcp_server", "mcp_servers.tools.list", NOT_YET),
    Operation("GET", "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}", "mcp_retrieve_mcp_tool", "mcp_servers.tools.retrieve", NOT_YET),
    Operation("POST", "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run", "mcp_run_tool", "mcp_servers.tools.run", NOT_YET),
    Operation("GET", "/v1/messages/", "list_all_messages", "messages.list", BUILT),
    Operation("POST", "/v1/messages/search", "search_all_messages", "messages.search", BUILT),
    Operation("GET", "/v1/messages/{message_id}", "retrieve_message", "messages.retrieve", BUILT),
    Operation("GET", "/v1/models/", "list_models", "models.list", BUILT),
    Operation("GET", "/v1/models/embedding", "list_embedding_models", "models.embeddings.list", BUILT),
    Operation("POST", "/v1/passages/search", "search_passages", "passages.search", NOT_YET),
    Operation("GET", "/v1/runs/", "list_runs", "runs.list", BUILT),
    Operation("POST", "/v1/runs/{run_id}/stream", "retrieve_stream_for_run", "runs.messages.stream", BUILT),
    Operation("GET", "/v1/runs/{run_id}", "retrieve_run", "runs.retrieve", BUILT),
    Operation("GET", "/v1/runs/{run_id}/messages", "list_messages_for_run", "runs.messages.list", BUILT),
    Operation("GET", "/v1/runs/{run_id}/steps", "list_steps_for_run", "runs.steps.list", BUILT),
    Operation("GET", "/v1/runs/{run_id}/trace", "retrieve_trace_for_run", "runs.trace.retrieve", BUILT),
    Operation("GET", "/v1/runs/{run_id}/usage", "retrieve_usage_for_run", "runs.usage.retrieve", BUILT),
    Operation("GET", "/v1/steps/", "list_steps", "steps.list", BUILT),
    Operation("GET", "/v1/steps/{step_id}", "retrieve_step", "steps.retrieve", BUILT),
    Operation("PATCH", "/v1/steps/{step_id}/feedback", "modify_feedback_for_step", "steps.feedback.create", BUILT),
    Operation("GET", "/v1/steps/{step_id}/messages", "list_messages_for_step", "steps.messages.list", BUILT),
    Operation("GET", "/v1/steps/{step_id}/metrics", "retrieve_metrics_for_step", "steps.metrics.retrieve", BUILT),
    Operation("GET", "/v1/steps/{step_id}/trace", "retrieve_trace_for_step", "steps.trace.retrieve", BUILT),
    Operation("GET", "/v1/tags/", "list_tags", "tags.list", BUILT),
    Operation("POST", "/v1/templates", "templates.createTemplate", "templates.create", NOT_YET),
    Operation("DELETE", "/v1/templates/{template_name}", "templates.deleteTemplate", "templates.delete", NOT_YET),
    Operation("PATCH", "/v1/templates/{template_name}", "templates.updateCurrentTemplateFromAgentFile", "templates.update", NOT_YET),
    Operation("POST", "/v1/templates/{template_name}/rollback", "templates.rollbackTemplate", "templates.rollback", NOT_YET),
    Operation("POST", "/v1/templates/{template_name}/save", "templates.saveTemplateVersion", "templates.save", NOT_YET),
    Operation("POST", "/v1/templates/{template_version}/agents", "templates.createAgentsFromTemplate", "templates.agents.create", NOT_YET),
    Operation("GET", "/v1/tools/", "list_tools", "tools.list", BUILT),
    Operation("POST", "/v1/tools/", "create_tool", "tools.create", NOT_YET),
    Operation("PUT", "/v1/tools/", "upsert_tool", "tools.upsert", NOT_YET),
    Operation("POST", "/v1/tools/search", "search_tools", "tools.search", NOT_YET),
    Operation("DELETE", "/v1/tools/{tool_id}", "delete_tool", "tools.delete", NOT_YET),
    Operation("GET", "/v1/tools/{tool_id}", "retrieve_tool", "tools.retrieve", BUILT),
    Operation("PATCH", "/v1/tools/{tool_id}", "modify_tool", "tools.update", NOT_YET),
)
# fmt: on

BEYOND_THE_SDK: Final = (
    ("GET", "/v1/conversations/{conversation_id}/approvals", "list_conversation_approvals"),
    ("POST", "/v1/conversations/{conversation_id}/compact/undo", "undo_conversation_compaction"),
    ("POST", "/v1/conversations/search", "search_conversations"),
    ("POST", "/v1/agents/{agent_id}/messages/preview-raw-payload", "preview_model_request"),
    ("POST", "/v1/conversations/{conversation_id}/messages/preview-raw-payload", "preview_conversation_model_request"),
    ("GET", "/v1/providers", "list_providers"),
    ("POST", "/v1/providers", "create_provider"),
    ("POST", "/v1/providers/check", "check_provider"),
    ("GET", "/v1/providers/{provider_id}", "retrieve_provider"),
    ("PATCH", "/v1/providers/{provider_id}", "modify_provider"),
    ("DELETE", "/v1/providers/{provider_id}", "delete_provider"),
    ("POST", "/v1/providers/{provider_id}/check", "check_existing_provider"),
    ("PATCH", "/v1/providers/{provider_id}/refresh", "refresh_provider_models"),
    ("GET", "/v1/health/ready", "check_readiness"),
)
"""Operations of ours, and of Letta's that its SDK does not have: method, path and operation id."""
