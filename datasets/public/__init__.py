"""Public datasets of the field, each read in the layout that its authors published."""
