"""DeepSpot (Nonchev et al. 2025): a deep set of a spot, its parts and its neighbours."""
