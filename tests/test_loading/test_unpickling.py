import collections
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint

CRAFTED = runpy.run_path(str(Path(__file__).with_name('crafted.py')))
WEIGHTS, Built, refused, save_pickle = (CRAFTED[name] for name in ('WEIGHTS', 'Built', 'refused', 'save_pickle'))

PLAIN = {
    'a': [None, True, False, 0, 255, 65_536, -1, 2**31, -(2**62), 10**30, 1.5, float('inf')],
    'texts': ['text', 'ä\ud800', b'bytes', b''],
    'b': ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {1: {2: {3: 'deep'}}}, set(), {1, 'x'}),
    'c': collections.OrderedDict([('z', 1), ('a', 2)]),
    'd': collections.Counter({3: 2, 8: 1}),
    'e': [torch.Size([2, 3]), torch.float16, torch.bfloat16, torch.device('cpu'), 1 + 2j],
    'keys': {0.5: 'number', None: 'none', b'x': 'bytes'},
}


def test_plain_values_are_those_that_were_saved(tmp_path):
    shared = ['one']
    torch.save({**PLAIN, 'shared': [shared, shared], **WEIGHTS}, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')['state_dict']
    for key, value in PLAIN.items():
        assert read[key] == value and type(read[key]) is type(value), key
    assert [type(value) for value in read['e']] == [type(value) for value in PLAIN['e']]
    assert read['shared'][0] is read['shared'][1]
    assert list(read['c']) == ['z', 'a']


def test_a_dict_has_no_methods_of_the_file(tmp_path):
    """With a ``pop`` of its own, the text of a config would stay in ``meta``, and mmengine would run it."""
    target = tmp_path / 'touched'
    items = {'config': f'import os; os.system("touch {target}")', 'epoch': 1}
    meta = Built(collections.OrderedDict, (), {'pop': torch.Size}, items)
    metadata = {'': {'version': 2, 'assign_to_params_buffers': True}, 'a': {'version': 'x'}}
    state = Built(collections.OrderedDict, (), {'items': torch.Size, '_metadata': metadata}, WEIGHTS)
    torch.save({'meta': meta, 'state_dict': state}, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')
    assert read['meta'] == {'epoch': 1} and not vars(read['meta'])
    # nor what makes torch replace parameters by the file's tensors
    assert vars(read['state_dict']) == {'_metadata': {'': {'version': 2}}}


@pytest.mark.parametrize('versions', ['text', {'': 5}, {5: {}}, [1]])
def test_versions_of_modules_that_are_none(tmp_path, versions):
    state = collections.OrderedDict()
    state._metadata = versions
    refused(tmp_path / 'a.pth', state, 'not loaded')


def test_versions_of_modules_reach_the_model(tmp_path):
    torch.save({'state_dict': torch.nn.BatchNorm2d(3).state_dict()}, tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['state_dict']._metadata == {'': {'version': 2}}


# a memoised thing, used many times
TEXT = b'X' + (10**6).to_bytes(4, 'little') + b'a' * 10**6 + b'q\1'
ENCODE = b'c_codecs\nencode\nh\1X\6\0\0\0latin1\x86R'
DICT = b'}q\1(' + b''.join(b'M' + i.to_bytes(2, 'little') + b'N' for i in range(60_000)) + b'u'


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    'pickle',
    [
        # the same bytes, and the same dict, made again and again
        b'](' + TEXT + ENCODE * 500 + b'e',
        b'](' + DICT + b'ccollections\nOrderedDict\nh\1\x85R' * 5000 + b'e',
        # encodings that take the square of the time, or four times the memory
        TEXT + ENCODE.replace(b'X\6\0\0\0latin1', b'X\x08\0\0\0punycode'),
        TEXT + ENCODE.replace(b'X\6\0\0\0latin1', b'X\6\0\0\0utf-32'),
        # a tuple whose hash takes 2 ** 40 steps, as a key; and a list that unfolds to as many
        b'})' + b'q\1h\1\x86' * 40 + b'Ns',
        b']' + b'q\1]h\1ah\1a' * 40,
        # nested too deeply, or holding itself
        b']' * 50_000 + b'a' * 49_999,
        b']q\1h\1a',
        # things that are no values, and calls of what is no function
        b'ctorch\nFloatStorage\n',
        b'cnumpy\ndtype\n',
        b'cnumpy.core.multiarray\n_reconstruct\n)R',
        b'K\1)R',
        # a stack without the things that are taken
        b'R',
        b'(K\1ta',
        b'K\1K\2s',
        b'h\7',
        b'}K\1a',
        b'N.N',
        b'cos\nsystem\n',
        b'\x8c\2os\x8c\6system\x93',
        # names and numbers that take for ever to compare, multiply or print
        b')' + b'q\1h\1\x86' * 60 + b'0(X\7\0\0\0storagectorch\nFloatStorage\nh\1X\3\0\0\0cpuK\0tQ',
        b')' + b'q\1h\1\x86' * 60 + b'0c__builtin__\ngetattr\ncnumpy\nndarray\nh\1\x86R',
        b'}('
        + b''.join(b'\x8a\x0b' + (k * (2**61 - 1)).to_bytes(11, 'little') + b'N' for k in range(1, 20_000))
        + b'u',
        b'(' + b'K\1' * 100_000 + b'tq\1](' + b'ctorch\nSize\nh\1\x85R' * 1000 + b'e',
        b'}' * 3_000_000,
        # a module of torch, which would be imported
        b'ctorch\n_dynamo\n',
    ],
)
def test_pickles_that_are_made_to_harm(tmp_path, pickle):
    save_pickle(tmp_path / 'a.pth', b'\x80\2' + pickle + b'.')
    with pytest.raises(SagaError, match=r'nothing in it was loaded|not loaded|damaged|holds a') as caught:
        load_checkpoint(tmp_path / 'a.pth')
    assert '\n' not in str(caught.value)


def test_dicts_of_other_libraries_are_plain_ones(tmp_path):
    config = ConfigDict(name='x', camera=dict(iso=[1, 2]))
    torch.save({'meta': {'dataset_meta': config}, 'args': Namespace(lr=1), **WEIGHTS}, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')['state_dict']
    assert read['meta']['dataset_meta'] == {'name': 'x', 'camera': {'iso': [1, 2]}}
    assert type(read['meta']['dataset_meta']['camera']) is dict
    # attributes are not taken over
    assert read['args'] == {} and not vars(read['args'])


def test_what_torch_and_others_allow_is_not_made(tmp_path):
    """torch allows classes of its own by itself, and the constructor of one opens a group of processes."""
    mesh = b'ctorch.distributed.device_mesh\nDeviceMesh\nX\x03\0\0\0cpu]K\0a\x86R'
    save_pickle(tmp_path / 'a.pth', b'\x80\2' + mesh + b'.')
    with (
        torch.serialization.safe_globals([(print, 'torch.distributed.device_mesh.DeviceMesh')]),
        pytest.raises(SagaError, match=r'refused.*DeviceMesh'),
    ):
        load_checkpoint(tmp_path / 'a.pth')
