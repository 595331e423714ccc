import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from saga_mm.archives import ArchiveError
from saga_mm.engine.checkpoint import load_checkpoint
from saga_mm.engine.unpickling import read_pickle
from saga_mm.errors import SagaError

WEIGHTS = {'layer.weight': torch.arange(6.0).reshape(2, 3)}
RECONSTRUCT = np.zeros(1).__reduce__()[0]
SCALAR = np.float64(1).__reduce__()[0]


class Built:
    """Pickles as a call, whose result is then given a state."""

    def __init__(self, function: Any, args: tuple, state: Any = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> tuple:
        return self.reduced


def array(shape: Any, kind: Any, content: Any, fortran: Any = False) -> Built:
    return Built(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, shape, kind, fortran, content))


def refused(path: Path, extra: Any, words: str) -> None:
    torch.save({'state_dict': WEIGHTS, 'extra': extra}, path)
    with pytest.raises(SagaError, match=words) as caught:
        load_checkpoint(path)
    assert '\n' not in str(caught.value)


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
        array((2,), np.dtype('O'), b'\x01' * 16),
        Built(np.ndarray, ((2,), np.dtype('O'), bytearray(b'\x01' * 16))),
        Built(np.ndarray, ((2,), np.dtype('f8'), bytearray(16))),
        array((1,), np.dtype([('a', 'O')]), b'\x01' * 8),
        # contents that do not fit their shape
        array((1000,), np.dtype('f8'), bytes(8)),
        array((-1,), np.dtype('f8'), bytes(8)),
        array([1], np.dtype('f8'), bytes(8)),
        array((10**12, 10**12), np.dtype('f8'), bytes(8)),
        array((1,), np.dtype('f8'), 'text'),
        array((1,), 'f8', bytes(8)),
        array((True,), np.dtype('f8'), bytes(8)),
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
        tmp_path / 'a.pth', [harm, array((1,), np.dtype('f8'), bytes(8))], 'not loaded|nothing in it was loaded|damaged'
    )


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


def test_an_expanded_tensor_is_as_small_as_its_storage(tmp_path):
    torch.save({'a': torch.ones(1).expand(1000, 1000), **WEIGHTS}, tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['state_dict']['a'].shape == (1000, 1000)


def test_compressed_and_changed_archives_are_refused(tmp_path):
    torch.save({'state_dict': {'a': torch.zeros(10**6)}}, tmp_path / 'a.pth')
    with (
        zipfile.ZipFile(tmp_path / 'a.pth') as old,
        zipfile.ZipFile(tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(SagaError, match='was not loaded, since it is compressed'):
        load_checkpoint(tmp_path / 'b.pth')
    with pytest.raises(ArchiveError):
        read_pickle(tmp_path / 'b.pth', 'cpu')
    content = bytearray((tmp_path / 'a.pth').read_bytes())
    content[2 * 10**6] ^= 4
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(SagaError, match='damaged'):
        load_checkpoint(tmp_path / 'a.pth')


def test_every_pickle_in_an_archive_is_looked_at(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    torch.save({'a': Built(bytearray, (10,)), **WEIGHTS}, tmp_path / 'b.pth')
    with zipfile.ZipFile(tmp_path / 'b.pth') as bad:
        harm = bad.read('b/data.pkl')
    with zipfile.ZipFile(tmp_path / 'a.pth', 'a') as file:
        file.writestr('other/data.pkl', harm)
    with pytest.raises(SagaError, match=r'refused.*builtins\.bytearray'):
        load_checkpoint(tmp_path / 'a.pth')


def test_nesting(tmp_path):
    # opcodes, since Python does not pickle what is nested so deeply
    content = io.BytesIO()
    torch.save(WEIGHTS, content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(tmp_path / 'a.pth', 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(
                name, b'\x80\x02' + b']' * 50_000 + b'a' * 49_999 + b'.' if name.endswith('data.pkl') else data
            )
    with pytest.raises(SagaError, match='holds a list'):
        load_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('old_format', [False, True])
def test_flipped_bits_and_cuts_are_refused_or_change_nothing(tmp_path, old_format):
    torch.save(
        {'state_dict': WEIGHTS, 'n': np.arange(3)}, tmp_path / 'a.pth', _use_new_zipfile_serialization=not old_format
    )
    content = (tmp_path / 'a.pth').read_bytes()
    random = np.random.default_rng(0)
    for number in range(200):
        harmed = bytearray(content)
        if number % 2:
            harmed[random.integers(len(harmed))] ^= 1 << random.integers(8)
        else:
            del harmed[random.integers(len(harmed)) :]
        (tmp_path / 'b.pth').write_bytes(harmed)
        try:
            read = load_checkpoint(tmp_path / 'b.pth')
        except SagaError:
            continue
        # the old format has no checksums
        assert old_format or torch.equal(read['state_dict']['layer.weight'], WEIGHTS['layer.weight'])
