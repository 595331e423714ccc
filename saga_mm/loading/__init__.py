"""From a config and a checkpoint file to a model with weights."""
