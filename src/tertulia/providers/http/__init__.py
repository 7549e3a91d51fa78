"""How every dialect reaches its servers."""
