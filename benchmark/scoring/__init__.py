"""The metrics of a prediction, and metrics that plug-ins add."""
