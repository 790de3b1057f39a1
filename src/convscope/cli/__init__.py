"""The commands, each a few lines: they call the same public functions as Python users do."""

# Their order is that of the help.
from convscope.cli import (
    auditing,
    comparing,
    explaining,
    features,
    forecasting,
    networks,
    neurons,
    photos,
    reporting,
)  # isort: skip
from convscope.cli.running import main
from convscope.cli.shared import app

__all__ = [
    "app",
    "auditing",
    "comparing",
    "explaining",
    "features",
    "forecasting",
    "main",
    "networks",
    "neurons",
    "photos",
    "reporting",
]
