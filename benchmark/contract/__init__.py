"""Whether a method keeps what the interface promises, on a dataset made for it."""
