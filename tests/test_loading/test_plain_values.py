import collections
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from saga_mm.loading.checkpoint import load_checkpoint

CRAFTED = runpy.run_path(str(Path(__file__).with_name('crafted.py')))
SCALAR, WEIGHTS, Built, pickled_array, refused = (
    CRAFTED[name] for name in ('SCALAR', 'WEIGHTS', 'Built', 'pickled_array', 'refused')
)


def test_arrays_and_numbers_are_those_that_were_saved(tmp_path):
    arrays = [np.arange(6, dtype=kind).reshape(2, 3) for kind in ('u1', '<i4', '>f8', 'f2')]
    arrays += [np.asfortranarray(arrays[2]), np.zeros((0, 3)), np.array(True), np.array([1 + 2j])]
    numbers = [np.float32(1.5), np.int64(-7), np.bool_(True)]
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save({'state_dict': WEIGHTS, 'a': arrays, 'n': numbers, 'h': history}, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')
    for found, saved in zip(read['a'], arrays, strict=True):
        # numpy brings numbers of the other byte order into its own
        assert found.dtype == saved.dtype.newbyteorder('=') and np.array_equal(found, saved)
        assert found.flags.f_contiguous == saved.flags.f_contiguous
    assert read['n'] == numbers and [type(n) for n in read['n']] == [type(n) for n in numbers]
    assert read['h'].mean(2) == 1.5
    # what is written again names numpy alone
    again = pickle.dumps(read['a'])
    assert b'saga_mm' not in again and np.array_equal(pickle.loads(again)[1], arrays[1])
    torch.save(read, tmp_path / 'b.pth')
    assert torch.load(tmp_path / 'b.pth', weights_only=False)['h'].data[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    'harm',
    [
        # objects at addresses that the file names
        pickled_array((2,), np.dtype('O'), b'\x01' * 16),
        Built(np.ndarray, ((2,), np.dtype('O'), bytearray(b'\x01' * 16))),
        Built(np.ndarray, ((2,), np.dtype('f8'), bytearray(16))),
        pickled_array((1,), np.dtype([('a', 'O')]), b'\x01' * 8),
        # contents that do not fit their shape
        pickled_array((1000,), np.dtype('f8'), bytes(8)),
        pickled_array((-1,), np.dtype('f8'), bytes(8)),
        pickled_array([1], np.dtype('f8'), bytes(8)),
        pickled_array((10**12, 10**12), np.dtype('f8'), bytes(8)),
        pickled_array((1,), np.dtype('f8'), 'text'),
        pickled_array((1,), 'f8', bytes(8)),
        pickled_array((True,), np.dtype('f8'), bytes(8)),
        Built(SCALAR, (np.dtype('f8'), b'1')),
        Built(SCALAR, (np.dtype('O'), b'\x01' * 8)),
        # flags of a type, by which numpy decides what is an object
        Built(np.dtype, ('f8', False, True), (4, '|', None, None, None, 8, 8, 63, {})),
        Built(np.dtype, ('V8', False, True)),
        Built(np.dtype, (10**6,)),
    ],
)
def test_arrays_that_do_not_fit_or_hold_objects_are_refused(tmp_path, harm):
    refused(
        tmp_path / 'a.pth',
        [harm, pickled_array((1,), np.dtype('f8'), bytes(8))],
        'not loaded|nothing in it was loaded|damaged',
    )


@pytest.mark.parametrize(
    'state',
    [
        {'_log_history': np.zeros(2), '_count_history': np.zeros(3), 'max_length': 5},
        {'_log_history': [[1.0]], '_count_history': [[1]], 'max_length': 5},
        {'_log_history': ['a'], '_count_history': ['a'], 'max_length': 5},
        {'_log_history': [1.0], '_count_history': [1], 'max_length': 'long'},
        {'_log_history': [1.0], '_count_history': [1]},
        {},
    ],
)
def test_logs_that_are_none_are_refused(tmp_path, state):
    refused(tmp_path / 'a.pth', Built(HistoryBuffer, (), state), 'not loaded')


@pytest.mark.parametrize(
    'harm',
    [
        Built(bytearray, (10**15,)),
        Built(torch.storage.UntypedStorage, (10**15,)),
        Built(torch.FloatTensor, (10**15,)),
        Built(torch.Tensor, (10**15,)),
        Built(torch._tensor._rebuild_from_type_v2, (len, str, ('a',), {'b': 1})),
    ],
)
def test_what_takes_memory_or_sets_attributes_is_refused(tmp_path, harm):
    refused(tmp_path / 'a.pth', harm, 'refused, and nothing in it was loaded: it holds (builtins|torch)')


@pytest.mark.parametrize(
    'tensor',
    [
        torch.eye(3).to_sparse(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.empty(3, device='meta'),
    ],
    ids=['sparse', 'quantised', 'meta'],
)
@pytest.mark.filterwarnings('ignore')
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path, tensor):
    refused(tmp_path / 'a.pth', tensor, 'tensors that are not plain numbers')


def test_tensors_larger_than_their_storage(tmp_path):
    storage = torch.zeros(4)._typed_storage()
    for size, stride in (((1000, 1000), (1000, 1)), ((10**5,), (1,))):
        large = Built(torch._utils._rebuild_tensor_v2, (storage, 0, size, stride, False, collections.OrderedDict()))
        refused(tmp_path / 'a.pth', large, 'damaged')


@pytest.mark.parametrize(
    ('offset', 'size', 'stride'),
    [
        (0, torch.ones(1, dtype=torch.int64).expand(2**30), (1,)),
        (0, (1,) * 100_000, (1,) * 100_000),
        (0, (2,), (-1,)),
        (-1, (2,), (1,)),
        (0, (2**2000,), (1,)),
        (0, 'ab', (1, 1)),
        (0, (2.0,), (1,)),
    ],
)
def test_tensors_of_sizes_that_are_none(tmp_path, offset, size, stride):
    arguments = torch.zeros(4)._typed_storage(), offset, size, stride, False, collections.OrderedDict()
    refused(tmp_path / 'a.pth', Built(torch._utils._rebuild_tensor_v2, arguments), 'not loaded')


def test_arrays_of_huge_numbers_of_sides(tmp_path):
    for shape in ((2**2030,) * 5000, (1,) * 100):
        refused(tmp_path / 'a.pth', pickled_array(shape, np.dtype('u1'), b'1'), 'not loaded')


def test_logs_that_are_made_again_and_again(tmp_path):
    state = {'_log_history': [1.0] * 50_000, '_count_history': [1] * 50_000, 'max_length': 10**6}
    refused(tmp_path / 'a.pth', [Built(HistoryBuffer, (), state) for _ in range(400)], 'makes more than it holds')


def test_an_expanded_tensor_is_as_small_as_its_storage(tmp_path):
    torch.save({'a': torch.ones(1).expand(1000, 1000), **WEIGHTS}, tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['state_dict']['a'].shape == (1000, 1000)
