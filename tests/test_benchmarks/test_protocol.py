"""Turns, samples and statistics; nothing here depends on how fast the machine is."""

import pytest

from benchmarks import ceilings
from benchmarks.ceilings import measure_ceilings
from benchmarks.protocol import MOST_ROUNDS, paired, rotated, spread, take_turns


def test_median_and_quantiles():
    assert spread([5, 1, 4, 2, 3]) == (3, pytest.approx(1.8), pytest.approx(4.2), 5)
    assert spread([2, 1]) == (1.5, pytest.approx(1.2), pytest.approx(1.8), 2)
    assert spread([7]) == (7, 7, 7, 1)
    with pytest.raises(ValueError, match='no sample'):
        spread([])


def test_ratios_are_taken_round_by_round():
    # both are slow in the second round: medians alone would say 2 / 10
    found = paired([2, 20, 2, 2], [1, 10, 1])
    assert found == (2, 2, 2, 3)
    assert paired([3, 8], [1, 2]) == (3.5, pytest.approx(3.2), pytest.approx(3.8), 2)
    assert paired([], [1]) is None and paired([1], []) is None


def test_rotation():
    assert [rotated('abc', turn) for turn in range(4)] == [list('abc'), list('bca'), list('cab'), list('abc')]
    assert rotated([], 3) == []


def turns(seconds: dict[str, float], repeats: int, least: float) -> tuple[str, dict[str, list[float]]]:
    order, samples = [], {name: [] for name in seconds}
    runs = {name: lambda name=name: seconds[name] for name in seconds}
    take_turns(runs, samples, repeats, least, lambda name, took: order.append((name, took)))
    assert [took for name, took in order] == [seconds[name] for name, _ in order]
    return ''.join(name for name, _ in order), samples


def test_all_take_turns_in_changing_order():
    order, samples = turns({'a': 1, 'b': 2, 'c': 3}, 4, 0)
    assert order == 'abc' + 'bca' + 'cab' + 'abc'
    assert samples == {'a': [1] * 4, 'b': [2] * 4, 'c': [3] * 4}


def test_what_has_had_its_time_drops_out():
    assert turns({'a': 1.0, 'b': 5.0}, 2, 4.0)[0] == 'ab' + 'ba' + 'a' + 'a'
    assert len(turns({'a': 1e-9}, 1, 1.0)[1]['a']) == MOST_ROUNDS
    assert len(turns({'a': 1e-9}, MOST_ROUNDS + 1, 1.0)[1]['a']) == MOST_ROUNDS + 1
    assert turns({}, 3, 1.0) == ('', {})


def test_an_interruption_leaves_the_samples():
    samples = {'a': [], 'b': []}

    def stop():
        if len(samples['b']) == 2:
            raise KeyboardInterrupt
        return 2.0

    with pytest.raises(KeyboardInterrupt):
        take_turns({'a': lambda: 1.0, 'b': stop}, samples, 5, 0)
    assert samples == {'a': [1.0] * 3, 'b': [2.0] * 2} or samples == {'a': [1.0] * 2, 'b': [2.0] * 2}


def test_ceilings(monkeypatch):
    ran = []

    def timer(device):
        return lambda run: ran.append((device, run())) or 0.5

    monkeypatch.setattr(ceilings, 'timer', timer)
    found = measure_ceilings(copy_bytes=1000, side=8)
    # every byte is read and written; a product of n x n matrices is n^3 multiply-accumulates
    assert found.bandwidth == 2 * 1000 / 0.5 and found.rate == 8**3 / 0.5
    assert {result.shape for _, result in ran} == {(1000,), (8, 8)} and {device for device, _ in ran} == {'cpu'}
