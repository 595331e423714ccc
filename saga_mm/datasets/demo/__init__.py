"""Demo data, made at first use."""
