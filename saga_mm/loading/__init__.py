"""Read configs and checkpoints, and build models with weights."""
