"""QCA: quantised cross-modal alignment."""
