"""Timings of what qbench does beside what a user would otherwise write: one module a benchmark."""
