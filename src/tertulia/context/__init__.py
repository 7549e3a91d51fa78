"""What a model is shown: the compiled system prompt and the history that fits."""
