"""convscope: train an image classifier from a few hundred photos, and see what it looks at."""

__version__ = "0.1.0"
