import collections
import os
import runpy
from pathlib import Path

import pytest
import torch

from saga_mm.engine.checkpoint import load_checkpoint
from saga_mm.errors import SagaError

CRAFTED = runpy.run_path(str(Path(__file__).with_name('crafted.py')))
WEIGHTS, Built, refused, save_pickle = (CRAFTED[name] for name in ('WEIGHTS', 'Built', 'refused', 'save_pickle'))

PLAIN = {
    'a': [None, True, False, 0, 255, 65_536, -1, 2**31, -(2**62), 10**30, 1.5, float('inf')],
    'texts': ['text', 'ä\ud800', b'bytes', b''],
    'b': ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {1: {2: {3: 'deep'}}}, set(), {1, 'x'}),
    'c': collections.OrderedDict([('z', 1), ('a', 2)]),
    'd': collections.Counter({3: 2, 8: 1}),
    'e': [torch.Size([2, 3]), torch.float16, torch.bfloat16, torch.device('cpu'), 1 + 2j],
    'keys': {0.5: 'number', None: 'none', b'x': 'bytes', ('a', 1): 'tuple'},
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
    state = Built(collections.OrderedDict, (), {'items': torch.Size, '_metadata': {'': {'version': 2}}}, WEIGHTS)
    torch.save({'meta': meta, 'state_dict': state}, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')
    assert read['meta'] == {'epoch': 1} and not vars(read['meta'])
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
    ],
)
def test_pickles_that_are_made_to_harm(tmp_path, pickle):
    save_pickle(tmp_path / 'a.pth', b'\x80\2' + pickle + b'.')
    with pytest.raises(SagaError, match=r'nothing in it was loaded|not loaded|damaged|holds a') as caught:
        load_checkpoint(tmp_path / 'a.pth')
    assert '\n' not in str(caught.value)


def test_what_the_user_allows_is_made(tmp_path):
    torch.save({**WEIGHTS, 'call': Built(os.fspath, ('a',))}, tmp_path / 'a.pth')
    with pytest.raises(SagaError, match=r'refused.*fspath'):
        load_checkpoint(tmp_path / 'a.pth')
    with torch.serialization.safe_globals([(os.fspath, f'{os.fspath.__module__}.fspath')]):
        assert load_checkpoint(tmp_path / 'a.pth')['state_dict']['call'] == 'a'
