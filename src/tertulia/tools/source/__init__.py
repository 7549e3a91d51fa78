"""A tool's name and JSON schema, read from its source's syntax tree. Nothing of the source is ever run or imported."""
