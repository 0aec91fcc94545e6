"""THItoGene (Jia et al. 2024): dynamic convolutions, capsules, a transformer over a section, graph attention."""
