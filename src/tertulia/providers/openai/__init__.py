"""The OpenAI dialects, Chat Completions and Responses, and their compatible servers."""
