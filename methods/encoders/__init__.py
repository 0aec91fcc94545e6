"""Image encoders by name: weights, mappings and feature extraction."""
