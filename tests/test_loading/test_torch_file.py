import runpy
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint

CRAFTED = runpy.run_path(str(Path(__file__).with_name('crafted.py')))
WEIGHTS = CRAFTED['WEIGHTS']

KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
KINDS += [torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)


@pytest.mark.parametrize('old_format', [False, True])
def test_tensors_are_those_that_torch_reads(tmp_path, old_format):
    base = torch.randn(4, 6)
    state = {str(kind): (3 * torch.randn(3, 5)).to(kind) for kind in KINDS}
    state |= {'whole': base, 'part': base[1:3, ::2], 'turned': base.t(), 'expanded': torch.ones(1).expand(3, 4)}
    state |= {'empty': torch.zeros(0, 3), 'number': torch.tensor(7), 'parameter': torch.nn.Parameter(torch.randn(2, 2))}
    state |= {'last': torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)}
    file = tmp_path / 'a.pth'
    # views that are negative or conjugate without being computed
    state |= {'conjugate': torch.randn(3, dtype=torch.complex64).conj()}
    state |= {'negative': torch.randn(3, dtype=torch.complex64).conj().imag}
    torch.save({'state_dict': state}, file, _use_new_zipfile_serialization=not old_format)
    read, torchs = load_checkpoint(file)['state_dict'], torch.load(file, weights_only=True)['state_dict']
    assert read.keys() == torchs.keys() and all(same(read[name], torchs[name]) for name in read)
    # views of one storage stay views of one storage
    read['whole'][1, 2] = 100
    assert read['part'][0, 1] == read['turned'][2, 1] == 100


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
    content = bytearray((tmp_path / 'a.pth').read_bytes())
    content[2 * 10**6] ^= 4
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(SagaError, match='damaged'):
        load_checkpoint(tmp_path / 'a.pth')


def test_two_archives_in_one_file_are_one(tmp_path):
    """Readers do not agree on where an archive begins that has something before it; we read what we check."""
    torch.save({'layer.weight': torch.zeros(2, 3)}, tmp_path / 'a.pth')
    torch.save(WEIGHTS, tmp_path / 'b.pth')
    (tmp_path / 'c.pth').write_bytes((tmp_path / 'a.pth').read_bytes() + (tmp_path / 'b.pth').read_bytes())
    assert torch.equal(load_checkpoint(tmp_path / 'c.pth')['state_dict']['layer.weight'], WEIGHTS['layer.weight'])


def test_an_archive_of_two_checkpoints_is_refused(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth', 'a') as file:
        file.writestr('other/data.pkl', b'\x80\x02}.')
    with pytest.raises(SagaError, match='it holds no checkpoint, or several'):
        load_checkpoint(tmp_path / 'a.pth')


def test_numbers_of_another_byte_order_are_refused(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth') as old, zipfile.ZipFile(tmp_path / 'b.pth', 'w') as new:
        for name in old.namelist():
            new.writestr(name, b'big' if name.endswith('byteorder') else old.read(name))
    with pytest.raises(SagaError, match='another byte order'):
        load_checkpoint(tmp_path / 'b.pth')


def test_the_old_format_with_other_sizes_than_it_says(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(WEIGHTS, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    place = content.rindex(struct.pack('<q', 6))
    for changed in (
        content[:place] + struct.pack('<q', 2**40) + content[place + 8 :],
        content[:-4],
        # a fifth pickle, of names of storages, that is none
        content.replace(b'q\0a.', b'q\0b.'),
        content[:300],
    ):
        file.write_bytes(changed)
        if changed != content:
            with pytest.raises(SagaError, match='damaged'):
                load_checkpoint(file)


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
