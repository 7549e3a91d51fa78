"""What the engine needs of the outside, as protocols; adapters are chosen in ``tertulia.app`` alone."""
