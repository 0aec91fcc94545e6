"""TRIPLEX (Chung et al. 2024): a spot, its surroundings and its section, fused."""
