"""Predictions made outside: what others need to train, and how their tables are scored."""
