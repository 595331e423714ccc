"""Data sets and transforms for low-light enhancement."""
