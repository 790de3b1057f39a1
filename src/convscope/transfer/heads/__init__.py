"""Heads: small classifiers on features, each a module whose weights are plain arrays."""
