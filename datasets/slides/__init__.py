"""Slides that are read by region: vendors' formats through OpenSlide, TIFF and OME-TIFF through tifffile."""
