"""qbench: a benchmark of methods that predict spatial gene expression from H&E histology."""

__version__ = "0.1.0"
