"""Frozen image encoders: their registry, weights, networks, runtimes and the cache of their features."""
