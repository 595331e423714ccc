"""Calls of a compiled graph."""

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from saga_mm.engines.library import core, import_openvino
from saga_mm.engines.running_call import CompiledGraph, RunningCall

pytestmark = pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino')


def double(fixed):
    """A graph that doubles an array, of 3 numbers or of any."""
    opset = import_openvino().opset13
    x = opset.parameter([3 if fixed else -1], np.float32, name='x')
    model = import_openvino().Model([opset.multiply(x, np.float32(2))], [x])
    return CompiledGraph(core().compile_model(model, 'CPU'), fixed)


@pytest.mark.parametrize('fixed', [True, False])
def test_a_call_counts_its_time_and_gives_its_request_to_the_next(fixed):
    seconds = {}
    program, graph = SimpleNamespace(passing=0, ran=lambda sizes, time: seconds.update({sizes: time})), double(fixed)
    first = RunningCall(program, ((3,),), graph, [np.float32([1, 2, 3])])
    made = first.results()
    first.drop()
    second = RunningCall(program, ((3,),), graph, [np.float32([4, 5, 6])])
    assert second.request is not None and not any(graph.idle.values())
    assert second.results()[0].tolist() == [8, 10, 12]
    second.drop()
    # results that stay are not those of the buffers
    assert made[0].tolist() == [2, 4, 6] and seconds[((3,),)] > 0
    assert [len(requests) for requests in graph.idle.values()] == [1]


def test_two_calls_run_at_the_same_time():
    program, graph = SimpleNamespace(passing=1, ran=lambda *_: None), double(fixed=True)
    calls = [RunningCall(program, ((3,),), graph, [np.full(3, number, np.float32)]) for number in (1, 2)]
    assert [call.results()[0].tolist() for call in calls] == [[2] * 3, [4] * 3]
    for call in calls:
        call.drop()
        call.drop()
    assert len(graph.idle[1]) == 2
