"""Readers of what users hold in their hands: AnnData, Space Ranger folders, HEST-1k samples, plain tables, slides."""
