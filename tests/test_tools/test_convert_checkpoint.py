import os
from argparse import Namespace
from functools import partial

import pytest
import torch

from saga_mm.loading.checkpoint import load_checkpoint


class Payload:
    """Pickles as the call of a shell command that makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


@pytest.fixture
def tool(run_here, monkeypatch, tmp_path):
    """Run the tool in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(run_here, 'convert_checkpoint.py')


@pytest.fixture
def published(golden, tmp_path):
    """The smallest case as a published file that also holds its training's arguments."""
    state = golden('pvt_v2_b0').state
    torch.save({'model': state, 'model_ema': state, 'args': Namespace(lr=1e-3)}, tmp_path / 'b0.pth')
    return state


def test_table_and_file(tool, published, tmp_path):
    out, err, status = tool('b0.pth', 'new/folder/ours.pth')
    lines = out.splitlines()
    assert status == 0 and not err
    assert lines[0] == 'b0.pth: pvt_v2_b0 from model, not model_ema'
    assert [line.split()[:2] for line in lines[3:]] == [
        ['matched', '176'],
        ['dropped', '2'],
        ['left', 'fresh'],
        ['wrote', 'new/folder/ours.pth;'],
    ]
    assert 'of the classifier: head.weight, head.bias' in out
    written = load_checkpoint(tmp_path / 'new/folder/ours.pth')
    assert written['meta']['variant'] == 'pvt_v2_b0' and written['meta']['source'] == 'b0.pth'
    assert written['meta']['dropped'] == {'of the classifier': ['head.weight', 'head.bias']}
    assert [path.name for path in (tmp_path / 'new/folder').iterdir()] == ['ours.pth']


def test_warm_start_says_what_is_fresh(tool, published):
    out, _, status = tool('b0.pth', 'a.pth', '--to', 'saga_pvt_v2_b0', '--ema')
    assert status == 0 and out.startswith('b0.pth: pvt_v2_b0 from model_ema, not model, for saga_pvt_v2_b0\n')
    assert 'stages.*.blocks.*.attn.gates.proj.*.weight' in out and 'only in pvt_v2_b0: ' in out
    assert max(map(len, out.splitlines())) < 200


def test_replaces_nothing_unless_forced(tool, published, tmp_path):
    (tmp_path / 'a.pth').write_text('precious')
    _, err, status = tool('b0.pth', 'a.pth')
    assert status == 2 and 'exists already; --overwrite replaces it' in err
    assert (tmp_path / 'a.pth').read_text() == 'precious'
    assert tool('b0.pth', 'a.pth', '--force')[2] == 0 and load_checkpoint(tmp_path / 'a.pth')['meta']
    _, err, status = tool('b0.pth', './b0.pth', '--force')
    assert status == 2 and 'is the source itself' in err


def test_refuses_to_run_what_is_in_a_file(tool, published, tmp_path):
    for extra in ({'args': Payload(tmp_path / 'touched')}, {'args': Namespace(lr=Payload(tmp_path / 'touched'))}):
        for key in ('model', 'model_ema'):
            torch.save({key: published, **extra}, tmp_path / 'planted.pth')
            _, err, status = tool('planted.pth', 'a.pth')
            assert status == 2 and 'refused, and nothing in it was loaded' in err and 'system' in err
    assert not (tmp_path / 'touched').exists() and not (tmp_path / 'a.pth').exists()


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('absent.pth', 'a.pth'), 'absent.pth: no such file'),
        (('text.pth', 'a.pth'), 'is damaged'),
        (('empty.pth', 'a.pth'), 'holds no weights'),
        (('other.pth', 'a.pth'), 'is of no known family'),
        (('own.pth', 'a.pth'), 'these are names of saga_mm itself'),
        (('b0.pth', '.'), 'is a folder'),
        (('b0.pth', 'text.pth/a.pth'), 'could not be written'),
        (('b0.pth', 'a.pth', '--to', 'nothing'), '--to nothing: no such backbone'),
        (('b0.pth', 'a.pth', '--to', 'saga_pvt_tiny'), 'which fits only pvt_v2_b0, saga_pvt_v2_b0, flatten_pvt_v2_b0'),
        (('b0.pth', 'a.pth', '--family', 'vgg'), '--family vgg: choose one of swin, '),
        (('b0.pth', 'a.pth', '--family', 'swin'), 'b0.pth'),
        (('b0.pth', 'a.pth', '--name', 'pvt_v2_b9'), 'did you mean'),
        (('b0.pth', 'a.pth', '--name', 'pvt_tiny', '--family', 'swin'), 'is not of the family swin'),
        (('plain.pth', 'a.pth', '--ema'), 'holds no averaged weights'),
    ],
)
def test_bad_input_is_one_line(tool, published, tmp_path, words, said):
    (tmp_path / 'text.pth').write_text('no weights')
    torch.save({'a': 1}, tmp_path / 'empty.pth')
    torch.save({'conv1.weight': torch.ones(1)}, tmp_path / 'other.pth')
    torch.save({'stages.0.embed.proj.weight': torch.ones(1)}, tmp_path / 'own.pth')
    torch.save(published, tmp_path / 'plain.pth')
    out, err, status = tool(*words)
    assert status == 2 and not out
    assert err.startswith('error: ') and err.count('\n') == 1 and said in err
