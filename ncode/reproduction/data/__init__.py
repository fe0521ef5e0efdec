"""Data sets, their downloads and their file formats."""
