"""The store on a PostgreSQL, one of the server's own included."""
