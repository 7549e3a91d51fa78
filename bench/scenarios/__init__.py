"""One file for each thing that is measured; each returns a frozen dataclass that goes into the result as it is."""
