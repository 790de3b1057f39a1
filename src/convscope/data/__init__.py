"""From photos on disk to arrays: scan, decode, check, split, augment."""
