"""What the tools are made of: configs, checkpoints, checks before a run, and the run itself."""
