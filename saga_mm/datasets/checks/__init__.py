"""Checks of a user's data before training."""
