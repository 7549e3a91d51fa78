"""`tertulia demo`: one agent, two conversations at once, through the official SDK."""
