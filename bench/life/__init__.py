"""A long life: unmodified clients talk to one server for thousands of replies, and the last is as the first."""
