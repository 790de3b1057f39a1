"""The commands, each a few lines: they call the same public functions as Python users do."""

# Their order is that of the help.
from convscope.cli import (
    auditing,
    comparing,
    explaining,
    features,
    forecasting,
    lessons,
    networks,
    neurons,
    photos,
    reporting,
    serving,
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
    "lessons",
    "main",
    "networks",
    "neurons",
    "photos",
    "reporting",
    "serving",
]
