"""What the project's own people run; `make` calls it."""
