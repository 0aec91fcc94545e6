"""YAML shipped with the package: datasets, protocols, methods, encoders, sweeps, reported figures."""
