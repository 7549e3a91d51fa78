"""What the encoders of all dialects share."""
