"""One mind of each dialect, for conversations that go through all."""

from tests.support.anthropic_mind import AnthropicMind
from tests.support.bedrock_mind import BedrockMind
from tests.support.chat_mind import ChatMind
from tests.support.gemini_mind import GeminiMind
from tests.support.mind import Mind
from tests.support.responses_mind import ResponsesMind

MINDS: tuple[type[Mind], ...] = (ChatMind, ResponsesMind, AnthropicMind, GeminiMind, BedrockMind)
