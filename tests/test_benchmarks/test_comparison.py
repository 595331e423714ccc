"""The comparison of mixers: equal parameters, pairs, and the order of the runs."""

import json

import numpy as np
import pytest
import torch

from benchmarks.comparison.costs import measure
from benchmarks.comparison.data import cut, random_boxes
from benchmarks.comparison.jobs import JOBS
from benchmarks.comparison.mixers import CHOICES, MIXERS, RATIO, build_trunk, count, matched_ratio
from benchmarks.comparison.plan import EPOCHS, RATES, SEARCH_EPOCHS, Results, Run, compared, plan, search
from benchmarks.comparison.run import claim, train_missing
from benchmarks.comparison.tables import interval, plot_curves, report
from benchmarks.comparison.training import Job, train
from saga_mm.files import locked_folder
from saga_mm.ops import Grid


@pytest.mark.parametrize('trunk', ['pvt', 'swin', 'unet'])
def test_trunks_have_the_same_number_of_parameters(trunk):
    wanted = count(trunk, 'saga', 64, RATIO)
    for mixer in [*MIXERS, *CHOICES] if trunk == 'pvt' else MIXERS:
        assert count(trunk, mixer, 64, matched_ratio(trunk, mixer, 64)) == pytest.approx(wanted, rel=0.01), mixer


def test_softmax_has_the_local_branch_of_the_others():
    attn = build_trunk('swin', 'softmax', 64, 2.0).double().stages[0].blocks[1].attn
    x, grid = torch.randn(1, 64, 32, dtype=torch.double), Grid.whole(8, 8)
    before = attn(x, grid)
    attn.local.weight.data.zero_()
    without = attn(x, grid)
    values = attn.kv(x).chunk(2, -1)[1].transpose(1, 2).unflatten(2, (8, 8))
    assert not torch.allclose(before, without)
    attn.local.weight.data[:, :, 1, 1] = 1
    torch.testing.assert_close(attn(x, grid) - without, values.flatten(2).transpose(1, 2) @ attn.proj.weight.T)


def test_the_plan_waits_for_the_rates_and_starts_with_the_question(tmp_path):
    results = Results(tmp_path)
    runs = list(plan(results))
    assert runs[:6] == search('pvt', ('linear', 'saga')) and all(run.length == SEARCH_EPOCHS for run in runs)
    for run in runs[:6]:
        results.path(run).write_text(json.dumps({'score': 50 + (run.rate == RATES[1])}))
    runs = list(plan(results))
    assert [(run.mixer, run.seed, run.rate, run.length) for run in runs[6:8]] == [
        ('linear', 1, RATES[1], EPOCHS),
        ('saga', 1, RATES[1], EPOCHS),
    ]
    assert len({run.name for run in runs if run.length == EPOCHS and run.mixer in CHOICES}) == 3 * len(CHOICES)


def test_crops_are_boxes_of_the_picture():
    images = torch.arange(96.0).expand(2, 1, 96, 96)
    boxes = random_boxes(200, (0.35, 1.0), 4 / 3, 1.0, np.random.default_rng(0))
    width, height = boxes[:, 0, 0].abs(), boxes[:, 1, 1]
    assert (width * height).min() > 0.3 and ((boxes[:, 0, 2].abs() + width) <= 1 + 1e-6).all()
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[-1.0, 0, 0], [0, 1, 0]]])
    out = cut(images, whole, (96, 96))
    torch.testing.assert_close(out[0], images[0])
    torch.testing.assert_close(out[1], images[1].flip(-1))


def test_training_is_the_same_twice_and_pairs_see_the_same_pictures():
    seen = []

    def job():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        data = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))

        def loss(indices, draws):
            seen.append(list(indices))
            return model(data[indices]).square().mean()

        return Job(model, model, loss, lambda: {'score': float(model(data).square().mean())}, len(data), batch=4)

    first, second = (train(job(), 1e-2, 3, 12, 3) for _ in range(2))
    assert first['losses'] == second['losses'] and first['score'] < first['scores'][0]['score']
    assert seen[:12] == seen[12:] and {i for step in seen[:5] for i in step} == set(range(20))
    assert [look['step'] for look in first['scores']] == [4, 8, 12]


@pytest.fixture
def quick_classes(monkeypatch):
    """Classification by one linear layer, in place of trunks and pictures."""

    def job(run, data):
        model = torch.nn.Linear(3, 2)
        return Job(model, model, lambda indices, draws: model.weight.sum(), lambda: {'score': 50.0}, 64)

    monkeypatch.setitem(JOBS, 'classes', job)


def test_processes_share_the_runs(tmp_path, quick_classes):
    results = Results(tmp_path)
    first, second, third = list(plan(results))[:3]
    with locked_folder(tmp_path / f'{first.name}.running', 'busy'):
        assert not claim(first, results, tmp_path)
        assert train_missing(results, tmp_path, 1) == 1
    assert [results.get(run) is None for run in (first, second, third)] == [True, False, True]
    assert claim(first, results, tmp_path) and not claim(first, results, tmp_path)
    assert results.get(first)['score'] == 50 and not list(tmp_path.glob('*.running'))


def test_what_starts_from_a_classifier_waits_for_it(tmp_path):
    results = Results(tmp_path)
    for run in search('pvt', ['saga']):
        results.path(run).write_text(json.dumps({'score': 50}))
    assert len(list(compared(results, 'camvid', 'pvt', ['saga']))) == 3
    assert not list(compared(results, 'camvid', 'pvt', ['saga'], 'pretrained'))
    results.path(Run('classes', 'pvt', 'saga', RATES[0], 2, EPOCHS)).write_text('{}')
    assert [run.seed for run in compared(results, 'camvid', 'pvt', ['saga'], 'pretrained')] == [2]


def test_names_tell_runs_apart():
    run = Run('camvid', 'pvt', 'saga', 1e-3, 1, 1200, 'pretrained')
    assert run.name == 'camvid_pvt_saga_lr0.001_1200_s1_pretrained'


def test_tables_pair_runs_of_one_seed(tmp_path):
    results = Results(tmp_path)
    for run in search('pvt', ('linear', 'saga')):
        results.path(run).write_text(json.dumps({'score': 50 + (run.rate == RATES[1])}))
    scores = {('linear', 1): 60.0, ('linear', 2): 64.0, ('saga', 1): 62.0, ('saga', 2): 65.0, ('saga', 3): 99.0}
    layers = [{'layer': '1.1', 'state_effective': 3.0, 'output_effective': 9.0}]
    for (mixer, seed), score in scores.items():
        looks = [{'step': 10, 'score': score}]
        ranks = [{'step': step, 'layers': layers} for step in (0, 10)]
        content = {'score': score, 'rate': RATES[1], 'parameters': 638656, 'scores': looks, 'ranks': ranks}
        results.path(Run('classes', 'pvt', mixer, RATES[1], seed, EPOCHS)).write_text(json.dumps(content))
    text = report(results)
    # differences 2 and 1: half width 12.706 * 0.7071 / sqrt(2)
    assert '| saga | 0.001 | 638,656 | 3 | 75.33 | 20.55 | +1.50 ± 6.35 (2) |  |' in text
    assert '| linear | 0.001 | 638,656 | 2 | 62.00 | 2.83 |  | -1.50 ± 6.35 (2) |' in text
    assert 'CamVid from random weights: mIoU\n\nNone is finished.' in text and 'Not measured.' in text
    assert '| saga | 3 | 3.00 | 3.00 | 9.00 | 9.00 |' in text
    assert plot_curves(results, tmp_path / 'curves.png').stat().st_size > 1000
    assert plot_curves(results, tmp_path / 'none.png', 'swin') is None


def test_intervals_by_hand():
    assert interval([3.0]) == (3.0, None)
    assert interval([1.0, 2.0, 3.0]).half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


def test_costs_are_ratios_to_linear():
    rows = measure('swin', ['linear', 'saga'], rounds=1)
    assert (rows[0]['time'], rows[0]['bytes']) == (1.0, 1.0) and rows[1]['bytes'] > 1
