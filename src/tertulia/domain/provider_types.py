"""The types of model providers: how each is spoken to, configured, and called by the API. A table, no behaviour."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

Dialect: TypeAlias = Literal["openai", "openai_chat", "azure", "chatgpt", "anthropic", "google", "bedrock"]
"""``openai`` is Responses for the models that reason, else Chat Completions; ``chatgpt`` is Responses alone."""

Address: TypeAlias = Literal["versioned", "root", "plain"]
"""How a base URL is written: ending in its version path, ending before it, or as the provider gives it."""


@dataclass(frozen=True, slots=True)
class Option:
    """What a provider needs beside key and address. ``name`` is the adapter's; the first variable that is set counts.

    One that ``configures`` makes the provider's models available by itself, as a key does. One that ``proves`` is a
    credential, or says where one is.
    """

    name: str
    variables: tuple[str, ...]
    meaning: str
    configures: bool = False
    proves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderType:
    """One kind of provider.

    ``title`` is its name for people, ``provider_type`` and ``endpoint_type`` are the API's words for it; ``prefixes``
    what handles may begin with, the proper one first. ``settings_types`` are the ``model_settings.provider_type`` its
    models take, the usual one first. ``base_url`` is its public address, None where every user has their own.

    ``needs`` are the environment variables to set for its models to be there, ``login`` the command where there are
    none. Any of ``key_variables``, ``url_variables`` and those of the ``options`` is read, the first that is set.
    """

    title: str
    provider_type: str
    endpoint_type: str
    dialect: Dialect
    prefixes: tuple[str, ...]
    settings_types: tuple[str, ...]
    needs: tuple[str, ...] = ()
    login: str | None = None
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    base_url: str | None = None
    address: Address = "versioned"

    @property
    def name(self) -> str:
        """What handles properly begin with; empty for the type that users name themselves."""
        return self.prefixes[0] if self.prefixes else ""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every environment variable that is read for it."""
        of_options = (variable for option in self.options for variable in option.variables)
        return (*self.key_variables, *self.url_variables, *of_options)


_AWS: Final = (
    Option("region", ("AWS_REGION", "AWS_DEFAULT_REGION"), "the region; the profile's by default"),
    Option("access_key", ("AWS_ACCESS_KEY_ID",), "the id of an AWS key", configures=True, proves=True),
    Option("secret_key", ("AWS_SECRET_ACCESS_KEY",), "the secret of that key"),
    Option("session_token", ("AWS_SESSION_TOKEN",), "the session token of a temporary key"),
    Option(
        "profile",
        ("AWS_PROFILE",),
        "a profile in the AWS configuration, instead of a key",
        configures=True,
        proves=True,
    ),
)
_GOOGLE_CLOUD: Final = (
    Option("project", ("GOOGLE_CLOUD_PROJECT",), "the project to bill", configures=True),
    Option("location", ("GOOGLE_CLOUD_LOCATION",), "the region; `global` by default"),
    Option(
        "credentials",
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        "a credentials file, instead of the credentials of `gcloud`",
        proves=True,
    ),
    Option(
        "access_token", ("GOOGLE_VERTEX_ACCESS_TOKEN",), "a short-lived access token, instead of a file", proves=True
    ),
)


def _hosted(title: str, name: str, base_url: str, settings_type: str, **rest: Any) -> ProviderType:
    """A service with a public address and a key, under the variables that follow from its name."""
    stem = name.upper()
    key_variables: tuple[str, ...] = rest.pop("key_variables", (f"{stem}_API_KEY",))
    fields: dict[str, Any] = {
        "title": title,
        "provider_type": name,
        "endpoint_type": name,
        "dialect": "openai_chat",
        "prefixes": (name,),
        "settings_types": (settings_type,),
        "needs": key_variables[:1],
        "key_variables": key_variables,
        "url_variables": (f"{stem}_BASE_URL",),
        "base_url": base_url,
    }
    return ProviderType(**{**fields, **rest})


def _own(title: str, name: str, *url_variables: str, **rest: Any) -> ProviderType:
    """A server that a user runs, speaks Chat Completions and takes the settings of OpenAI; with a key if need be."""
    fields: dict[str, Any] = {
        "title": title,
        "provider_type": name,
        "endpoint_type": name,
        "dialect": "openai_chat",
        "prefixes": (name,),
        "settings_types": ("openai",),
        "needs": url_variables[:1],
        "key_variables": (url_variables[0].replace("_BASE_URL", "_API_KEY"),),
        "url_variables": url_variables,
    }
    return ProviderType(**{**fields, **rest})


PROVIDER_TYPES: Final = (
    _hosted(
        "OpenAI",
        "openai",
        "https://api.openai.com/v1",
        "openai",
        dialect="openai",
        prefixes=("openai", "openai-proxy"),
        url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        options=(
            Option("organization", ("OPENAI_ORG_ID",), "the organisation to bill, at OpenAI's own address"),
            Option("project", ("OPENAI_PROJECT_ID",), "the project to bill, likewise"),
        ),
    ),
    _hosted("Anthropic", "anthropic", "https://api.anthropic.com", "anthropic", dialect="anthropic", address="root"),
    _hosted(
        "Google Gemini",
        "google_ai",
        "https://generativelanguage.googleapis.com",
        "google_ai",
        dialect="google",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        url_variables=("GOOGLE_AI_BASE_URL", "GEMINI_BASE_URL"),
        address="plain",
    ),
    ProviderType(
        title="Google Vertex AI",
        provider_type="google_vertex",
        endpoint_type="google_vertex",
        dialect="google",
        prefixes=("google_vertex",),
        settings_types=("google_vertex",),
        needs=("GOOGLE_CLOUD_PROJECT",),
        key_variables=("GOOGLE_VERTEX_API_KEY",),
        url_variables=("GOOGLE_VERTEX_BASE_URL",),
        options=_GOOGLE_CLOUD,
        address="plain",
    ),
    ProviderType(
        title="Amazon Bedrock",
        provider_type="bedrock",
        endpoint_type="bedrock",
        dialect="bedrock",
        prefixes=("bedrock",),
        settings_types=("bedrock",),
        needs=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        url_variables=("BEDROCK_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        options=_AWS,
        address="plain",
    ),
    ProviderType(
        title="Azure OpenAI",
        provider_type="azure",
        endpoint_type="azure",
        dialect="azure",
        prefixes=("azure",),
        settings_types=("azure",),
        needs=("AZURE_API_KEY", "AZURE_BASE_URL"),
        key_variables=("AZURE_API_KEY",),
        url_variables=("AZURE_BASE_URL",),
        options=(Option("api_version", ("AZURE_API_VERSION",), "the API version; `2024-10-21` by default"),),
        address="plain",
    ),
    ProviderType(
        title="ChatGPT",
        provider_type="chatgpt_oauth",
        endpoint_type="chatgpt_oauth",
        dialect="chatgpt",
        prefixes=("chatgpt_oauth", "chatgpt-plus-pro"),
        settings_types=("chatgpt_oauth",),
        login="tertulia login chatgpt",
        url_variables=("CHATGPT_OAUTH_BASE_URL",),
        options=(Option("auth_base_url", ("CHATGPT_AUTH_BASE_URL",), "the address of the sign-in service"),),
        base_url="https://chatgpt.com/backend-api/codex",
        address="plain",
    ),
    _hosted("xAI", "xai", "https://api.x.ai/v1", "xai"),
    _hosted("Groq", "groq", "https://api.groq.com/openai/v1", "groq"),
    _hosted("DeepSeek", "deepseek", "https://api.deepseek.com/v1", "deepseek"),
    _hosted("Together", "together", "https://api.together.xyz/v1", "together"),
    _hosted("Baseten", "baseten", "https://inference.baseten.co/v1", "baseten"),
    _hosted("OpenRouter", "openrouter", "https://openrouter.ai/api/v1", "openrouter"),
    _hosted("Z.ai", "zai", "https://api.z.ai/api/paas/v4", "zai"),
    _hosted("Z.ai for coding", "zai_coding", "https://api.z.ai/api/coding/paas/v4", "zai"),
    _hosted("Moonshot", "moonshot", "https://api.moonshot.ai/v1", "moonshot"),
    _hosted(
        "Kimi for coding",
        "moonshot_coding",
        "https://api.kimi.com/coding",
        "moonshot_coding",
        dialect="anthropic",
        prefixes=("moonshot_coding", "kimi-code"),
        address="root",
    ),
    _hosted("MiniMax", "minimax", "https://api.minimax.io/anthropic", "anthropic", dialect="anthropic", address="root"),
    _hosted("Mistral", "mistral", "https://api.mistral.ai/v1", "openai"),
    # The API has no endpoint type for these two, which speak like OpenAI.
    _hosted("Fireworks", "fireworks", "https://api.fireworks.ai/inference/v1", "openai", endpoint_type="openai"),
    _hosted("Cerebras", "cerebras", "https://api.cerebras.ai/v1", "openai", endpoint_type="openai"),
    _hosted(
        "Hugging Face",
        "hugging-face",
        "https://router.huggingface.co/v1",
        "openai",
        prefixes=("huggingface", "hugging-face"),
        key_variables=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        url_variables=("HUGGINGFACE_BASE_URL",),
    ),
    _own("Ollama", "ollama", "OLLAMA_BASE_URL"),
    _own("vLLM", "vllm", "VLLM_BASE_URL", "VLLM_API_BASE"),
    _own("SGLang", "sglang", "SGLANG_BASE_URL", endpoint_type="openai", settings_types=("sglang",)),
    _own(
        "LM Studio",
        "lmstudio_openai",
        "LMSTUDIO_BASE_URL",
        endpoint_type="lmstudio",
        prefixes=("lmstudio_openai", "lmstudio"),
    ),
    # The API has no provider type for llama.cpp; its server is an OpenAI one in all but name.
    _own(
        "llama.cpp server",
        "openai",
        "LLAMACPP_BASE_URL",
        "LLAMA_CPP_BASE_URL",
        endpoint_type="llamacpp",
        prefixes=("llamacpp", "llama_cpp", "llama.cpp"),
    ),
)

# Any other server that speaks Chat Completions, under a name of the user's choice.
COMPATIBLE: Final = ProviderType(
    title="any other compatible server",
    provider_type="openai",
    endpoint_type="openai",
    dialect="openai_chat",
    prefixes=(),
    settings_types=("openai",),
    needs=("TERTULIA_ENDPOINTS",),
)

BY_PREFIX: Final = MappingProxyType({prefix: row for row in PROVIDER_TYPES for prefix in row.prefixes})
