import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.archives import ArchiveError, read_arrays, read_into, stored_members


def archive(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, 'w', kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def check_stored(path: Path) -> None:
    """Read all members of an archive that is not compressed."""
    with zipfile.ZipFile(path) as file:
        for name, member in stored_members(file, path.stat().st_size).items():
            with file.open(name) as content:
                read_into(content, np.empty(member.file_size, np.uint8))


def test_sizes_and_checksums_of_what_torch_saves(tmp_path):
    torch.save({'a': torch.arange(10_000.0)}, tmp_path / 'a.pth')
    check_stored(tmp_path / 'a.pth')
    content = bytearray((tmp_path / 'a.pth').read_bytes())
    content[20_000] ^= 1
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(zipfile.BadZipFile):
        check_stored(tmp_path / 'a.pth')


def test_archives_that_torch_does_not_write_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match='compressed'):
        check_stored(archive(tmp_path / 'a.zip', {'a': bytes(10**6)}, zipfile.ZIP_DEFLATED))
    content = archive(tmp_path / 'a.zip', {'a': bytes(1000)}).read_bytes()
    # flags in both heads of the member
    place = content.index(b'PK\x01\x02')
    encrypted = content[:6] + b'\x01' + content[7 : place + 8] + b'\x01' + content[place + 9 :]
    (tmp_path / 'b.zip').write_bytes(encrypted)
    with pytest.raises(ArchiveError, match='encrypted'):
        check_stored(tmp_path / 'b.zip')
    (tmp_path / 'c.zip').write_bytes(
        archive(tmp_path / 'a.zip', {'a': b'1', 'b': b'2'}).read_bytes().replace(b'b', b'a')
    )
    with pytest.raises(ArchiveError, match='one name'):
        check_stored(tmp_path / 'c.zip')
    (tmp_path / 'd.zip').write_bytes(b'no archive')
    with pytest.raises(ArchiveError, match='no zip'):
        read_arrays(tmp_path / 'd.zip')


def test_members_that_lie_over_each_other_are_refused(tmp_path):
    content = archive(tmp_path / 'a.zip', {f'{i}': bytes(10_000 if i == 0 else 0) for i in range(3)}).read_bytes()
    directory = content.index(b'PK\x01\x02')
    head, entries, end = content[:directory], content[directory : content.rindex(b'PK\x05\x06')], content[-22:]
    parts = [b'PK\x01\x02' + part for part in entries.split(b'PK\x01\x02')[1:]]
    # each says that it is the first
    same = b''.join(parts[0][:46] + bytes([part[46]]) + parts[0][47:] for part in parts)
    (tmp_path / 'a.zip').write_bytes(head + same + end)
    with pytest.raises((ArchiveError, zipfile.BadZipFile)):
        check_stored(tmp_path / 'a.zip')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_are_those_of_numpy(tmp_path, save):
    values = np.random.default_rng(0)
    arrays = {
        'a': values.random((3, 4)).astype(np.float16),
        'b.c': np.asfortranarray(values.random((5, 2))),
        'd': np.array(7),
        'e': np.zeros((0, 3), np.int64),
        'f': np.arange(4, dtype='>u2'),
    }
    save(tmp_path / 'a.npz', **arrays)
    read = read_arrays(tmp_path / 'a.npz')
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array) and read[name].flags.writeable


def test_what_unpacks_to_more_than_weights_do_is_refused_unread(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(30_000_000, np.uint8))
    assert (tmp_path / 'a.npz').stat().st_size < 40_000
    with pytest.raises(ArchiveError, match='more than 8 times its size'):
        read_arrays(tmp_path / 'a.npz')


def test_arrays_of_other_sizes_than_they_say_and_objects(tmp_path):
    huge = npy(np.zeros(3)).replace(b'(3,), ', b'(3000000000000,), ')
    short = npy(np.zeros(3))[:-8]
    longer = npy(np.zeros(3)) + b'x'
    for content in (huge, short, longer):
        with pytest.raises((ArchiveError, EOFError)):
            read_arrays(archive(tmp_path / 'a.npz', {'a.npy': content}))
    for array in (np.array([{}], object), np.zeros(2, [('x', 'f4')])):
        with pytest.raises(ArchiveError, match='objects'):
            read_arrays(archive(tmp_path / 'a.npz', {'a.npy': npy(array)}))


def test_damaged_archives_take_no_memory(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', a=np.arange(300), b=np.ones(5))
    content = (tmp_path / 'a.npz').read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        harmed = bytearray(content)
        for place in random.integers(0, len(content), 3):
            harmed[place] = random.integers(256)
        (tmp_path / 'b.npz').write_bytes(
            harmed[: random.integers(1, len(harmed) + 1)] if random.random() < 0.3 else harmed
        )
        try:
            read = read_arrays(tmp_path / 'b.npz')
        except Exception:
            continue
        assert all(array.nbytes < 10_000 for array in read.values())


def test_a_directory_that_lies_about_a_size(tmp_path):
    content = bytearray(archive(tmp_path / 'a.npz', {'a.npy': npy(np.arange(50))}, zipfile.ZIP_DEFLATED).read_bytes())
    struct.pack_into('<I', content, content.index(b'PK\x01\x02') + 24, 10**9)
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(ArchiveError):
        read_arrays(tmp_path / 'a.npz')
