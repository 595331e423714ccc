"""Hooks, optimizer constructors and checkpoints for mmengine's training loop."""
