"""The types of model providers: how each is spoken to, and what the API calls it. A table, no behaviour."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Dialect: TypeAlias = Literal["openai_chat", "openai_responses", "anthropic", "google", "bedrock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderType:
    """One kind of provider.

    ``provider_type`` and ``endpoint_type`` are the API's words for it; ``prefixes`` what handles may begin with, the
    proper one first. ``variables`` are the environment variables that configure it, the one to name in a message
    first. ``settings_types`` are the ``model_settings.provider_type`` its models take. ``base_url`` is its public
    address, None where every user runs their own. ``configurable`` types have an adapter and settings in this release.
    """

    provider_type: str
    endpoint_type: str
    dialect: Dialect
    prefixes: tuple[str, ...]
    variables: tuple[str, ...] = ()
    settings_types: tuple[str, ...] = ()
    base_url: str | None = None
    configurable: bool = False


_CHAT: Final = ("openai",)

PROVIDER_TYPES: Final = (
    ProviderType(
        provider_type="openai",
        endpoint_type="openai",
        dialect="openai_chat",
        prefixes=("openai", "openai-proxy"),
        variables=("OPENAI_API_KEY", "OPENAI_BASE_URL"),
        settings_types=("openai",),
        base_url="https://api.openai.com/v1",
        configurable=True,
    ),
    ProviderType(
        provider_type="ollama",
        endpoint_type="ollama",
        dialect="openai_chat",
        prefixes=("ollama",),
        variables=("OLLAMA_BASE_URL",),
        settings_types=_CHAT,
        configurable=True,
    ),
    ProviderType(
        provider_type="vllm",
        endpoint_type="vllm",
        dialect="openai_chat",
        prefixes=("vllm",),
        variables=("VLLM_API_BASE",),
        settings_types=_CHAT,
        configurable=True,
    ),
    ProviderType(
        provider_type="lmstudio_openai",
        endpoint_type="lmstudio",
        dialect="openai_chat",
        prefixes=("lmstudio_openai", "lmstudio"),
        variables=("LMSTUDIO_BASE_URL",),
        settings_types=_CHAT,
        configurable=True,
    ),
    # The API has no provider type for llama.cpp; its server is an OpenAI one in all but name.
    ProviderType(
        provider_type="openai",
        endpoint_type="llamacpp",
        dialect="openai_chat",
        prefixes=("llamacpp", "llama_cpp", "llama.cpp"),
        variables=("LLAMACPP_BASE_URL",),
        settings_types=_CHAT,
        configurable=True,
    ),
    ProviderType(
        provider_type="anthropic",
        endpoint_type="anthropic",
        dialect="anthropic",
        prefixes=("anthropic",),
        variables=("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
        settings_types=("anthropic",),
        base_url="https://api.anthropic.com",
        configurable=True,
    ),
    ProviderType(
        provider_type="azure",
        endpoint_type="azure",
        dialect="openai_chat",
        prefixes=("azure",),
        variables=("AZURE_API_KEY", "AZURE_BASE_URL"),
        settings_types=("azure",),
    ),
    ProviderType(
        provider_type="baseten",
        endpoint_type="baseten",
        dialect="openai_chat",
        prefixes=("baseten",),
        variables=("BASETEN_API_KEY",),
        settings_types=("baseten",),
        base_url="https://inference.baseten.co/v1",
    ),
    ProviderType(
        provider_type="bedrock",
        endpoint_type="bedrock",
        dialect="bedrock",
        prefixes=("bedrock",),
        variables=("AWS_ACCESS_KEY_ID",),
        settings_types=("bedrock",),
    ),
    ProviderType(
        provider_type="chatgpt_oauth",
        endpoint_type="chatgpt_oauth",
        dialect="openai_responses",
        prefixes=("chatgpt_oauth", "chatgpt-plus-pro"),
        settings_types=("chatgpt_oauth",),
    ),
    ProviderType(
        provider_type="deepseek",
        endpoint_type="deepseek",
        dialect="openai_chat",
        prefixes=("deepseek",),
        variables=("DEEPSEEK_API_KEY",),
        settings_types=("deepseek",),
        base_url="https://api.deepseek.com/v1",
    ),
    ProviderType(
        provider_type="google_ai",
        endpoint_type="google_ai",
        dialect="google",
        prefixes=("google_ai",),
        variables=("GEMINI_API_KEY",),
        settings_types=("google_ai",),
        base_url="https://generativelanguage.googleapis.com",
    ),
    ProviderType(
        provider_type="google_vertex",
        endpoint_type="google_vertex",
        dialect="google",
        prefixes=("google_vertex",),
        variables=("GOOGLE_CLOUD_PROJECT",),
        settings_types=("google_vertex",),
    ),
    ProviderType(
        provider_type="groq",
        endpoint_type="groq",
        dialect="openai_chat",
        prefixes=("groq",),
        variables=("GROQ_API_KEY",),
        settings_types=("groq",),
        base_url="https://api.groq.com/openai/v1",
    ),
    ProviderType(
        provider_type="moonshot",
        endpoint_type="moonshot",
        dialect="openai_chat",
        prefixes=("moonshot",),
        variables=("MOONSHOT_API_KEY",),
        settings_types=("moonshot",),
        base_url="https://api.moonshot.ai/v1",
    ),
    ProviderType(
        provider_type="moonshot_coding",
        endpoint_type="moonshot_coding",
        dialect="anthropic",
        prefixes=("moonshot_coding", "kimi-code"),
        variables=("MOONSHOT_CODING_API_KEY", "MOONSHOT_CODING_BASE_URL"),
        settings_types=("moonshot_coding",),
        base_url="https://api.kimi.com/coding",
        configurable=True,
    ),
    ProviderType(
        provider_type="openrouter",
        endpoint_type="openrouter",
        dialect="openai_chat",
        prefixes=("openrouter",),
        variables=("OPENROUTER_API_KEY",),
        settings_types=("openrouter",),
        base_url="https://openrouter.ai/api/v1",
    ),
    ProviderType(
        provider_type="sglang",
        endpoint_type="openai",
        dialect="openai_chat",
        prefixes=("sglang",),
        variables=("SGLANG_BASE_URL",),
        settings_types=("sglang",),
    ),
    ProviderType(
        provider_type="together",
        endpoint_type="together",
        dialect="openai_chat",
        prefixes=("together",),
        variables=("TOGETHER_API_KEY",),
        settings_types=("together",),
        base_url="https://api.together.xyz/v1",
    ),
    ProviderType(
        provider_type="xai",
        endpoint_type="xai",
        dialect="openai_chat",
        prefixes=("xai",),
        variables=("XAI_API_KEY",),
        settings_types=("xai",),
        base_url="https://api.x.ai/v1",
    ),
    ProviderType(
        provider_type="zai",
        endpoint_type="zai",
        dialect="openai_chat",
        prefixes=("zai",),
        variables=("ZAI_API_KEY",),
        settings_types=("zai",),
        base_url="https://api.z.ai/api/paas/v4",
    ),
)

# Any other server that speaks the dialect, under a name of the user's choice.
COMPATIBLE: Final = ProviderType(
    provider_type="openai",
    endpoint_type="openai",
    dialect="openai_chat",
    prefixes=(),
    variables=("TERTULIA_ENDPOINTS",),
    settings_types=_CHAT,
    configurable=True,
)

BY_PREFIX: Final = {prefix: row for row in PROVIDER_TYPES for prefix in row.prefixes}
