"""BLEEP: bi-modal contrastive embedding with retrieval."""
