"""Which prompt layout lets a small model answer from memory. `python -m bench.layouts` measures and writes results."""
