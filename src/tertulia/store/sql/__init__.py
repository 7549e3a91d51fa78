"""The nouns as tables and statements, for any database SQLAlchemy Core speaks; connections and threads are not here."""
