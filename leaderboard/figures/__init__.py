"""Figures drawn from stored records and predictions, one module a family; every one as PNG and SVG."""
