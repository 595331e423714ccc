"""Repeated augmentation."""

from collections import Counter

import pytest
from mmengine.runner import Runner

from saga_mm.datasets.classification import sampler
from saga_mm.datasets.classification.sampler import RepeatedSampler


def test_a_picture_comes_three_times_until_the_epoch_is_full():
    drawn = list(RepeatedSampler(range(30), seed=0))
    assert len(drawn) == 30 and set(Counter(drawn).values()) == {3}
    assert len(RepeatedSampler(range(600), seed=0)) == len(list(RepeatedSampler(range(600), seed=0))) == 512


def test_orders_differ_by_epoch_and_seed_alone():
    one, other = RepeatedSampler(range(30), seed=0), RepeatedSampler(range(30), seed=0)
    assert list(one) == list(other) != list(RepeatedSampler(range(30), seed=1))
    other.set_epoch(1)
    assert list(one) != list(other)
    assert list(RepeatedSampler(range(6), seed=0, shuffle=False)) == [0, 0, 0, 1, 1, 1]


def test_processes_share_the_repetitions(monkeypatch):
    parts = []
    for rank in range(3):
        monkeypatch.setattr(sampler, 'get_dist_info', lambda rank=rank: (rank, 3))
        parts.append(list(RepeatedSampler(range(30), seed=0)))
    # each process sees a picture once
    assert parts[0] == parts[1] == parts[2] and len(set(parts[0])) == 10


def test_configs_build_it():
    loader = Runner.build_dataloader(
        dict(batch_size=2, sampler=dict(type='saga_mm.RepeatedSampler', num_repeats=2), dataset=list(range(8))), seed=0
    )
    assert isinstance(loader.sampler, RepeatedSampler) and loader.sampler.num_repeats == 2
    with pytest.raises(ValueError, match='num_repeats=0 must be at least 1'):
        RepeatedSampler(range(3), seed=0, num_repeats=0)
