"""ChatGPT subscriptions: the Responses dialect behind a sign-in."""
