"""Exact re-computation of what a change of the input can reach, the rest read from memory."""

from convscope.incremental.changes import Changes
from convscope.incremental.remembering import Engine, remember

__all__ = ["Changes", "Engine", "remember"]
