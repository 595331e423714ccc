"""Whether a graph is captured, and sizes that may not be asked for then."""

import pytest
import torch
from torch.export import Dim

from saga_mm.ops import captures_graph
from saga_mm.ops.capture import known_equal


class Asking(torch.nn.Module):
    """Adds one where a graph is captured, and two where sides are known to be equal."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + int(captures_graph()) + 2 * known_equal(x.shape[:1], x.shape[1:])


def test_nothing_is_captured_in_ordinary_computation():
    assert not captures_graph()
    assert Asking()(torch.zeros(2, 2)).sum() == 8 and Asking()(torch.zeros(1, 2)).sum() == 0


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_trace_is_a_capture_whose_sizes_are_not_known():
    traced = torch.jit.trace(Asking(), torch.zeros(2, 2), check_trace=False)
    assert traced(torch.zeros(2, 2)).sum() == 4
    assert not captures_graph()


def test_a_graph_of_any_size_does_not_become_one_of_equal_sides():
    sides = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    exported = torch.export.export(Asking(), (torch.zeros(3, 3),), dynamic_shapes=(sides,), strict=False).module()
    assert exported(torch.zeros(4, 5)).sum() == 20
    # where sizes stay, they are known
    fixed = torch.export.export(Asking(), (torch.zeros(3, 3),), strict=False).module()
    assert fixed(torch.zeros(3, 3)).sum() == 27


def test_numbers_of_another_count_are_a_mistake():
    with pytest.raises(ValueError, match='zip'):
        known_equal([1, 2], [1])
