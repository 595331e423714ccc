"""A model that is built before its runner trains as one that the runner builds."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config

from saga_mm.engine.seeded_model import SeededModel
from saga_mm.engine.stack_runner import build_runner


@pytest.fixture
def cfg(tmp_path) -> Config:
    arch = dict(embed_dims=(8,), depths=(1,), num_heads=(1,), mlp_ratios=(2,), sr_ratios=(1,))
    backbone = dict(type='saga_mm.PVTv2', arch=arch, attention='saga', out_indices=(0,))
    head = dict(type='saga_mm.LinearClsHead', num_classes=3, in_channels=8)
    model = dict(type='saga_mm.ImageClassifier', backbone=backbone, head=head)
    return Config(dict(model=model, work_dir=str(tmp_path), default_scope='mmengine', randomness=dict(seed=3)))


def draws() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(()).item()]


def test_weights_and_all_random_numbers_after_them_are_those_of_the_runners_own(cfg):
    built = SeededModel(cfg)
    # what checks draw changes nothing
    draws()
    found = []
    for give in (None, built.give):
        model = build_runner(cfg, lambda model: None, model=give).model
        weights = [weight.clone() for weight in model.state_dict().values()]
        model.init_weights()
        found.append((weights, [*model.state_dict().values()], draws()))
    (own, own_start, own_draws), (given, given_start, given_draws) = found
    assert model is built.model and own_draws == given_draws
    for one, other in zip(own + own_start, given + given_start, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    'change',
    [
        {'randomness.seed': 4},
        {'randomness.seed': None},
        {'randomness.diff_rank_seed': True},
        {'model.head.num_classes': 4},
        {'data_preprocessor': dict(type='BaseDataPreprocessor')},
    ],
    ids=str,
)
def test_a_runner_that_would_build_another_one_gets_none(cfg, change):
    built = SeededModel(cfg)
    assert built.is_of(cfg)
    cfg.merge_from_dict(change)
    assert not built.is_of(cfg)


def test_without_a_seed_the_runner_draws_one(cfg):
    cfg.pop('randomness')
    assert not SeededModel(cfg).is_of(cfg)
