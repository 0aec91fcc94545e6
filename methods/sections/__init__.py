"""What the methods share that read a whole section at once: their inputs, their fit, how they are kept."""
