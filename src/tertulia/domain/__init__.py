"""The nouns of the product: frozen values, the rules that hold between them, and the ways they can fail."""
