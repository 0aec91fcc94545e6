"""The common `Method` interface, its registry, the methods, their encoders and the shared training loop."""
