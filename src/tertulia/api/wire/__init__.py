"""Request and response shapes of the API, and their translation from and to domain values. No I/O."""
