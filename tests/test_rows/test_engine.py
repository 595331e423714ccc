"""PyTorch as an engine: what others derive from."""

import torch
from torch import nn

from saga_mm.ops import Grid
from saga_mm.rows import TORCH, Engine, engine_of
from saga_mm.rows.steps import LocalStep


def test_it_does_what_is_asked_and_refuses_nothing():
    engine, x = Engine(), torch.randn(1, 6, 4)
    assert torch.equal(engine.apply(torch.neg, [], x), -x)
    assert engine.refusal(x.half()) is None and engine.strip_engine is engine
    with engine.running():
        engine.note('Block', 'it has a hook')
    assert engine.reasons == {'Block': 'it has a hook'} and Engine().reasons == {}


def test_a_model_runs_in_pytorch_until_it_is_told_otherwise():
    model = nn.Linear(1, 1)
    assert engine_of(model) is TORCH
    model.engine = engine = Engine()
    assert engine_of(model) is engine


def test_a_step_is_run_as_it_is():
    step = LocalStep(lambda tokens, grid: (tokens.cumsum(1), grid), 2)
    x, grid, keep = torch.randn(1, 12, 2), Grid.whole(4, 3), Grid(4, 3, 1, 3)
    assert torch.equal(TORCH.read(step, x, grid, None, keep), x.cumsum(1)[:, 3:9])
