"""Controls: simple predictors that a method must beat before its figures mean anything."""
