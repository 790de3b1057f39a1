"""The networks: one file per family, readable as its paper."""
