"""Models, embedding models and the legacy ``llm_config`` as clients see them."""

from typing import Any, Literal

from tertulia.api.wire.common import ResponseModel
from tertulia.api.wire.model_settings import Effort, ReasoningEffort, ResponseFormat, Verbosity
from tertulia.domain.agents import Agent
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings, ProviderCategory, split_handle


class LlmConfigBody(ResponseModel):
    """``llm_config``: what ``model``, ``model_settings`` and ``context_window_limit`` come to, in the older words."""

    model: str
    model_endpoint_type: str
    context_window: int
    model_endpoint: str | None = None
    provider_name: str | None = None
    provider_category: ProviderCategory | None = None
    model_wrapper: str | None = None
    put_inner_thoughts_in_kwargs: bool | None = None
    handle: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    enable_reasoner: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    effort: Effort | None = None
    max_reasoning_tokens: int | None = None
    frequency_penalty: float | None = None
    compatibility_type: Literal["gguf", "mlx"] | None = None
    verbosity: Verbosity | None = None
    tier: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    strict: bool | None = None
    tool_call_parser: str | None = None
    return_logprobs: bool | None = None
    return_token_ids: bool | None = None
    top_logprobs: int | None = None
    display_name: str | None = None


class ModelBody(LlmConfigBody):
    name: str
    provider_type: str
    max_context_window: int
    model_type: Literal["llm"] = "llm"


class EmbeddingModelBody(ResponseModel):
    handle: str
    name: str
    display_name: str
    provider_type: str
    provider_name: str
    model_type: Literal["embedding"] = "embedding"
    embedding_model: str
    embedding_endpoint_type: str
    embedding_endpoint: str | None
    embedding_dim: int
    embedding_chunk_size: int | None = None
    batch_size: int | None = None
    azure_endpoint: str | None = None
    azure_version: str | None = None
    azure_deployment: str | None = None


class EmbeddingConfigBody(ResponseModel):
    """``embedding_config``: the embedding model that an agent names, described."""

    handle: str
    embedding_model: str
    embedding_endpoint_type: str
    embedding_endpoint: str | None
    embedding_dim: int
    embedding_chunk_size: int | None = None
    batch_size: int | None = None
    azure_endpoint: str | None = None
    azure_version: str | None = None
    azure_deployment: str | None = None


def embedding_config_body(card: EmbeddingCard) -> EmbeddingConfigBody:
    return EmbeddingConfigBody(
        handle=card.handle,
        embedding_model=card.name,
        embedding_endpoint_type=card.endpoint_type,
        embedding_endpoint=card.endpoint,
        embedding_dim=card.dimensions,
    )


def model_body(card: ModelCard) -> ModelBody:
    return ModelBody(
        **_description(card),
        context_window=card.context_window,
        max_context_window=card.context_window,
        max_tokens=card.max_output_tokens,
        name=card.name,
        provider_type=card.provider_type,
    )


def embedding_model_body(card: EmbeddingCard) -> EmbeddingModelBody:
    return EmbeddingModelBody(
        handle=card.handle,
        name=card.name,
        display_name=card.name,
        provider_type=card.provider_type,
        provider_name=card.provider_name,
        embedding_model=card.name,
        embedding_endpoint_type=card.endpoint_type,
        embedding_endpoint=card.endpoint,
        embedding_dim=card.dimensions,
    )


def llm_config_body(agent: Agent, card: ModelCard | None, in_force: ModelSettings | None) -> LlmConfigBody:
    """``card`` is None when the provider of the agent's model is not configured any more."""
    settings = _in_older_words(in_force)
    if card is not None:
        window = agent.context_window_limit or card.context_window
        return LlmConfigBody(**_description(card), context_window=window, **settings)
    provider, model = split_handle(agent.model) or (None, agent.model)
    return LlmConfigBody(
        handle=agent.model,
        model=model,
        provider_name=provider,
        model_endpoint_type="openai",
        context_window=agent.context_window_limit or 0,
        **settings,
    )


def _description(card: ModelCard) -> dict[str, Any]:
    return {
        "handle": card.handle,
        "model": card.name,
        "display_name": card.display_name or card.name,
        "model_endpoint_type": card.endpoint_type,
        "model_endpoint": card.endpoint,
        "provider_name": card.provider_name,
        "provider_category": card.provider_category,
        "compatibility_type": card.compatibility_type,
    }


def _in_older_words(settings: ModelSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    thinking, config = settings.thinking or {}, settings.thinking_config or {}
    return {
        "temperature": settings.temperature,
        "max_tokens": settings.max_output_tokens,
        "parallel_tool_calls": settings.parallel_tool_calls,
        "strict": settings.strict,
        "effort": settings.effort,
        "verbosity": settings.verbosity,
        "tool_call_parser": settings.tool_call_parser,
        "response_format": settings.response_format or settings.response_schema,
        "reasoning_effort": (settings.reasoning or {}).get("reasoning_effort"),
        "max_reasoning_tokens": thinking.get("budget_tokens", config.get("thinking_budget")),
        "enable_reasoner": (thinking["type"] == "enabled" if "type" in thinking else config.get("include_thoughts")),
    }
