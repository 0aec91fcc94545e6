"""Sections, cohorts, readers, folds, gene panels, targets and patches; knows no method and no harness."""
