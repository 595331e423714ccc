"""What prints and draws: tables, progress, overlays, curves."""
