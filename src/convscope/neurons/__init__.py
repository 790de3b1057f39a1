"""The patches that excite a network's neurons most, over a folder of photos."""
