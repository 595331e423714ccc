"""What several processes check together: functions of a mesh, by name."""

from collections.abc import Callable

import pytest

from saga_mm.errors import SagaError
from saga_mm.parallel import Mesh

Check = Callable[[Mesh], None]
# numbers of processes
WORLDS = (2, 3, 4)
CHECKS: dict[str, Check] = {}
# those after which the processes are no use to each other
LAST: dict[str, Check] = {}


def check(*worlds: int) -> Callable[[Check], Check]:
    """Have a function checked on these numbers of processes; on all of :data:`WORLDS` if none is given."""

    def mark(function: Check) -> Check:
        function.worlds = worlds or WORLDS
        CHECKS[function.__name__] = function
        return function

    return mark


def check_last(function: Check) -> Check:
    """Have a function checked on all numbers of processes, after all others."""
    LAST[function.__name__] = function
    return function


def names_of(world: int) -> list[str]:
    """The checks for so many processes, in order."""
    return [name for name, function in CHECKS.items() if world in function.worlds] + list(LAST)


def refused(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(SagaError, match=message):
        call()
