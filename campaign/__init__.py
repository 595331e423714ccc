"""Attacks on the tools that repeat with a seed: kills, full disks, payloads, malformed files, rivals, memory limits.

Run it by ``make campaign`` or ``python -m campaign``. It is no part of the tests, because it takes half an hour.
"""
