"""The Gemini dialect, of Google AI and Vertex AI."""
