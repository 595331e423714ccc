"""Implementations of the verbs, from options to written files."""
