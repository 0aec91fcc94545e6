"""Hist2ST (Zeng et al. 2022): convolutions in a patch, a transformer over a section, a graph of neighbouring spots."""
