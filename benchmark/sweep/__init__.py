"""Nested search of a method's parameters: trials see the training side of a fold and are judged on its validation side."""
