"""iStar (Zhang et al. 2024): expression of cells of 8 microns, learned from the means over spots."""
