"""Low-light enhancement."""
