"""What the product does: operations over several nouns, and the one loop that answers messages."""
