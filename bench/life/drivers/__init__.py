"""The clients, each a program of its own: see `clients.py` for what they are told and what they say."""
