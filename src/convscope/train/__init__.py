"""Training: one description of a training step for Lightning, and what goes round it."""
