"""Token mixers trained under one protocol; ``docs/comparison.md`` has the protocol and the results."""
