"""Patches as a method trains on them: where they come from, how they are augmented, the network they pass."""
