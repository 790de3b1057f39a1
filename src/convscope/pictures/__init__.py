"""Pictures of networks, each one SVG file that needs nothing else."""
