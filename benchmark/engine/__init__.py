"""A run: what it plans, how a cell is fitted, predicted and recorded, in this process or on a cluster, and how it is verified."""
