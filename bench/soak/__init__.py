"""A soak of several workers on one PostgreSQL: they are killed and frozen at random, and nothing may be lost."""
