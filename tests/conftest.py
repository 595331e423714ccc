"""Fixtures that several test files use."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from saga_mm.analysis.parity import GoldenCase, load_case

GOLDEN = Path(__file__).parent / 'golden'


@pytest.fixture
def golden() -> Callable[[str], GoldenCase]:
    """Load a golden case by name."""
    return partial(load_case, GOLDEN)
