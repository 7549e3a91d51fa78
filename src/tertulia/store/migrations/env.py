"""Alembic's environment: it migrates over the connection it is given, in a transaction its caller ends."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
context.run_migrations()
