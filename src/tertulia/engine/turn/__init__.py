"""What one run does: ask the model, run its tools, ask again."""
