"""What is publicly known of models by name: context windows, reply limits, embedding dimensions. A table."""

import re
from typing import Final

DEFAULT_CONTEXT_WINDOW: Final = 32_000
"""Tokens; for a model nothing is known of."""

# Pattern of the name without any owner before it, context window, longest reply; tokens. The first match counts.
_MODELS: Final[tuple[tuple[re.Pattern[str], int, int | None], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), window, reply)
    for pattern, window, reply in (
        (r"gpt-5\.\d-codex-spark", 128_000, 32_000),
        (r"gpt-(?:[6-9]|5\.[4-9])", 1_050_000, 128_000),
        (r"gpt-5(?:\.\d)?-chat", 128_000, 16_384),
        (r"gpt-5", 400_000, 128_000),
        (r"gpt-4\.1", 1_047_576, 32_768),
        (r"gpt-4\.5", 128_000, 16_384),
        (r"gpt-4o-2024-05-13", 128_000, 4_096),
        (r"(?:chatgpt-)?(?:gpt-)?4o", 128_000, 16_384),
        (r"gpt-4-(?:turbo|1106|0125)", 128_000, 4_096),
        (r"gpt-4-32k", 32_768, 4_096),
        (r"gpt-4", 8_192, 8_192),
        (r"gpt-3\.5-turbo-instruct", 4_096, 4_096),
        (r"gpt-3\.5", 16_385, 4_096),
        (r"gpt-oss", 131_072, None),
        (r"o1-mini", 128_000, 65_536),
        (r"o1-preview", 128_000, 32_768),
        (r"o[134](?:-|$)|codex-mini", 200_000, 100_000),
        (r"claude-[a-z]+-(?:[5-9]|preview)", 1_000_000, 128_000),
        (r"claude-(?:opus|sonnet)-4[.-][6-9](?:-|$)", 1_000_000, 128_000),
        (r"claude-opus-4(?![.-]5)", 200_000, 32_000),
        (r"claude-[a-z]+-4|claude-3[.-]7", 200_000, 64_000),
        (r"claude-3[.-]5", 200_000, 8_192),
        (r"claude-3", 200_000, 4_096),
        (r"claude-", 200_000, None),
        (r"nova-micro", 128_000, 10_000),
        (r"nova-(?:lite|pro)", 300_000, 10_000),
        (r"nova-", 1_000_000, None),
        (r"jamba", 256_000, None),
        (r"gemini-(?:1|2\.0)", 1_048_576, 8_192),
        (r"gemini-", 1_048_576, 65_536),
        (r"deepseek-(?:v[4-9]|chat|reasoner)", 1_000_000, 384_000),
        (r"deepseek", 131_072, None),
        (r"kimi-k[3-9]", 1_048_576, 131_072),
        (r"kimi-(?:k2|for-coding|latest)", 262_144, 32_768),
        (r"minimax-m[3-9]", 512_000, 128_000),
        (r"minimax-m2", 204_800, 131_072),
        (r"glm-5\.[3-9]", 1_000_000, 131_072),
        (r"glm-(?:5|4\.[67](?!v))", 200_000, 131_072),
        (r"glm-4\.[5-9]", 131_072, None),
        (r"grok-4(?:[.-]1)?-fast|grok-4\.20", 2_000_000, 30_000),
        (r"grok-4\.3", 1_000_000, 30_000),
        (r"grok-(?:4\.[5-9]|[5-9])", 500_000, None),
        (r"grok-(?:4|code)", 256_000, None),
        (r"grok-", 131_072, None),
        (r"(?:meta-)?llama-?4", 1_048_576, None),
        (r"(?:meta-)?llama-?3[.-]?[123]", 131_072, None),
        (r"(?:meta-)?llama-?3", 8_192, None),
        (r"llama-?2", 4_096, None),
        (r"qwen-?3\.[5-9]|qwen-?3-max", 262_144, 65_536),
        (r"qwen-?3-?(?:coder|next|\w*-2507)", 262_144, None),
        (r"qwen-?3", 40_960, None),
        (r"qwen-?2\.5", 32_768, None),
        (r"qwq", 131_072, None),
        (r"mistral-(?:large-(?:2512|[34])|medium-(?:2604|3[.-]5))|(?:devstral|ministral-\d+b)-2512", 262_144, None),
        (r"mistral-(?:large|medium|small)|ministral|magistral|devstral|pixtral", 128_000, None),
        (r"mistral-nemo", 128_000, None),
        (r"mixtral-8x22b", 65_536, None),
        (r"mi[sx]tral", 32_768, None),
        (r"codestral", 256_000, None),
        (r"gemma-?4(?!-?e\d)", 262_144, 32_768),
        (r"gemma-?3n", 32_768, None),
        (r"gemma-?[34]", 131_072, None),
        (r"gemma", 8_192, None),
        (r"phi-?4-mini", 131_072, None),
        (r"phi-?4", 16_384, None),
        (r"phi-?3", 131_072, None),
        (r"granite", 131_072, None),
        (r"smollm-?3", 65_536, None),
        (r"smollm-?2", 8_192, None),
        (r"hermes-?[34]", 131_072, None),
        (r"command-r|command-a", 128_000, None),
    )
)

_EMBEDDINGS: Final[tuple[tuple[str, int], ...]] = (
    ("text-embedding-3-large", 3072),
    ("text-embedding-3-small", 1536),
    ("text-embedding-ada-002", 1536),
    ("nomic-embed-text", 768),
    ("mxbai-embed-large", 1024),
    ("bge-m3", 1024),
    ("bge-large", 1024),
    ("bge-base", 768),
    ("bge-small", 384),
    ("all-minilm", 384),
    ("snowflake-arctic-embed", 1024),
    ("embeddinggemma", 768),
    ("qwen3-embedding-0.6b", 1024),
    ("qwen3-embedding-4b", 2560),
    ("qwen3-embedding-8b", 4096),
    ("jina-embeddings-v3", 1024),
    ("e5-large", 1024),
    ("gte-large", 1024),
)

# Models that OpenAI lists and that do not chat.
_OTHER_WORK: Final = re.compile(
    r"embed|whisper|tts|dall-e|image|moderation|audio|realtime|transcribe|search|instruct|babbage|davinci|sora"
    r"|rerank|computer-use|deep-research|gpt-live",
    re.IGNORECASE,
)
_OPENAI_CHAT: Final = re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|o\d|codex-)", re.IGNORECASE)
_NOT_CHAT: Final = re.compile(
    r"embed|whisper|rerank|(?:^|[-/])(?:tts|bge|gte|e5|ocr|flux|veo|sora|dall-e)(?:-|$)|all-minilm|moderation"
    r"|imagine-|-(?:image|video|transcribe|realtime|tts)(?:-|$)",
    re.IGNORECASE,
)


# Bedrock's ids have the maker before the model, and perhaps a region before the maker: us.anthropic.claude-….
_MAKER: Final = re.compile(
    r"(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|openai|qwen|google|moonshotai|moonshot|minimax|zai)\."
)


def _bare(name: str) -> str:
    """``meta-llama/Llama-3.3-70B`` and ``ft:gpt-4o:org::id`` without what is put before the model's own name."""
    bare = name.rpartition("/")[2].removeprefix("ft:")
    maker = _MAKER.match(bare)
    return bare[maker.end() :] if maker else bare


def known_windows(name: str) -> tuple[int, int | None] | None:
    """Context window and longest reply of a model in tokens, or None for a name never heard of."""
    bare = _bare(name)
    return next(((window, reply) for pattern, window, reply in _MODELS if pattern.match(bare)), None)


def embedding_dimensions(name: str) -> int | None:
    """Length of the vectors of an embedding model, or None when it is not known."""
    bare = _bare(name).lower()
    return next((dimensions for prefix, dimensions in _EMBEDDINGS if bare.startswith(prefix)), None)


def can_chat(name: str, *, at_openai: bool) -> bool:
    """Whether a listed model answers messages. OpenAI lists everything it has; others mostly what they serve."""
    if at_openai:
        return _OPENAI_CHAT.match(name) is not None and _OTHER_WORK.search(name) is None
    return _NOT_CHAT.search(name) is None
