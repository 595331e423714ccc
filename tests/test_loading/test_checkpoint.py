import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import checkpoint as stack

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import is_remote, load_checkpoint, load_state, make_files_safe

WEIGHTS = {'layer.weight': torch.arange(6.0).reshape(2, 3)}


class Call:
    """Pickles as the call of a function, which unpickling then makes."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def direct(target: Path) -> Call:
    """The plain attack: a shell command."""
    return Call(os.system, f'touch {target}')


def through_getattr(target: Path) -> Call:
    """An attack on loaders that allow ``getattr``: from an allowed class to ``exec``, with ``weights_only=True``."""
    rebuild = torch._tensor._rebuild_from_type_v2
    builtins = Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__builtins__')
    get = Call(getattr, builtins, 'get')
    run = Call(rebuild, get, Call(getattr, get, '__class__'), ('exec',), {})
    return Call(rebuild, run, Call(getattr, None, '__class__'), (f'open({str(target)!r}, "w")',), {})


@pytest.fixture
def safe(monkeypatch):
    """The stack's own loading, made safe, and put back afterwards."""
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
    monkeypatch.setattr(stack.CheckpointLoader, '_schemes', stack.CheckpointLoader._schemes.copy())
    if hasattr(stack, '_safe_torch_load'):
        monkeypatch.setattr(stack, '_safe_torch_load', stack._safe_torch_load)
    make_files_safe()
    make_files_safe()


@pytest.fixture(params=[direct, through_getattr])
def planted(request, tmp_path) -> tuple[Path, Path]:
    """A checkpoint that makes a file when it is read by ``pickle``, and that file."""
    file, target = tmp_path / 'planted.pth', tmp_path / 'touched'
    torch.save({'state_dict': WEIGHTS, 'extra': request.param(target)}, file)
    return file, target


def test_payload_works_at_all(planted, monkeypatch):
    file, target = planted
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    torch.load(file, weights_only=False)
    assert target.exists()


def test_refuses_to_run_what_is_in_a_file(planted, safe):
    file, target = planted
    for load in (load_checkpoint, load_state, stack._load_checkpoint):
        with pytest.raises(
            SagaError, match=f'{file}: refused, and nothing in it was loaded: it holds .*(system|_rebuild_from_type)'
        ):
            load(str(file))
    with pytest.raises(SagaError, match='refused'):
        stack.load_checkpoint(torch.nn.Linear(3, 2), str(file))
    if hasattr(stack, '_safe_torch_load'):
        with pytest.raises(pickle.UnpicklingError):
            stack._safe_torch_load(str(file))
    assert not target.exists()


@pytest.mark.parametrize('protocol', [2, 4])
def test_refuses_plain_pickles_and_the_old_file_format(tmp_path, protocol, safe):
    file, target = tmp_path / 'old.pth', tmp_path / 'touched'
    torch.save({'state_dict': WEIGHTS, 'x': direct(target)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(SagaError, match=r'refused.*system'):
        load_checkpoint(file)
    with file.open('wb') as handle:
        pickle.dump({'x': direct(target)}, handle, protocol=protocol)
    with pytest.raises(SagaError, match=r'not loaded|nothing in it was loaded'):
        load_checkpoint(file)
    assert not target.exists()


def test_what_a_checkpoint_of_mmengine_holds_is_read(tmp_path, safe):
    history = HistoryBuffer()
    history.update(0.5)
    saved = {
        'meta': {'epoch': 1, 'iter': 7, 'dataset_meta': {'classes': ('a', 'b')}},
        'state_dict': WEIGHTS,
        'message_hub': {
            'log_scalars': {'loss': history},
            'runtime_info': {'a': np.float64(1.5), 'b': np.int64(2), 'c': np.float32(3), 'd': np.arange(3)},
        },
        'param_schedulers': [{'anneal_func': OneCycleParamScheduler._annealing_cos, 'lr': [0.1]}],
    }
    torch.save(saved, tmp_path / 'own.pth')
    for loaded in (load_checkpoint(tmp_path / 'own.pth'), stack._load_checkpoint(str(tmp_path / 'own.pth'))):
        assert loaded['meta'] == saved['meta']
        assert torch.equal(loaded['state_dict']['layer.weight'], WEIGHTS['layer.weight'])
        assert loaded['message_hub']['log_scalars']['loss'].statistics('mean') == 0.5
        assert loaded['message_hub']['runtime_info']['d'].tolist() == [0, 1, 2]
        assert loaded['param_schedulers'][0]['anneal_func'](0, 1, 1) == 1


def test_text_that_mmengine_would_execute_on_resume_is_dropped(tmp_path):
    torch.save({'state_dict': WEIGHTS, 'meta': {'config': 'raise SystemExit', 'epoch': 1}}, tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['meta'] == {'epoch': 1}


WRAPPED = {f'module.{name}': value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize('saved', [WEIGHTS, {'state_dict': WRAPPED, 'meta': {}}, {'model': WEIGHTS}])
def test_finds_the_weights_wherever_they_are(tmp_path, saved):
    torch.save(saved, tmp_path / 'a.pth')
    assert torch.equal(load_state(tmp_path / 'a.pth')['layer.weight'], WEIGHTS['layer.weight'])


def test_allow_list_is_left_as_it_was(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(tmp_path / 'a.pth')
    assert set(torch.serialization.get_safe_globals()) == before
    with torch.serialization.safe_globals([getattr, os.system]):
        torch.save({**WEIGHTS, 'b': through_getattr(tmp_path / 'touched')}, tmp_path / 'b.pth')
        torch.save({**WEIGHTS, 'b': direct(tmp_path / 'touched')}, tmp_path / 'c.pth')
        for name in ('b.pth', 'c.pth'):
            with pytest.raises(SagaError, match='refused'):
                load_checkpoint(tmp_path / name)
    assert not (tmp_path / 'touched').exists()


def damaged(folder: Path) -> dict[str, str]:
    """Files that are no checkpoints, and a word of what is said about each."""
    torch.save(WEIGHTS, folder / 'whole.pth')
    data = (folder / 'whole.pth').read_bytes()
    (folder / 'cut.pth').write_bytes(data[: len(data) // 2])
    (folder / 'empty.pth').write_bytes(b'')
    (folder / 'text.pth').write_text('these are not weights')
    (folder / 'picture.pth').write_bytes(b'\xff\xd8\xff\xe0' + bytes(range(256)) * 8)
    (folder / 'folder.pth').mkdir()
    torch.save([1, 2], folder / 'list.pth')
    torch.save({'a': 1, 'b': 'x'}, folder / 'none.pth')
    torch.save(torch.nn.Linear(2, 2), folder / 'module.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder / 'script.pth')
    return {
        'cut': 'damaged',
        'empty': '0 bytes',
        'text': 'damaged',
        'picture': 'was not written by torch.save',
        'folder': 'is a folder',
        'list': 'holds a list',
        'none': 'holds no weights',
        'module': 'refused',
        'script': 'TorchScript',
        'gone': 'no such file',
    }


def test_says_what_is_wrong_with_a_file_in_one_line(tmp_path):
    for name, words in damaged(tmp_path).items():
        with pytest.raises(SagaError) as caught:
            load_checkpoint(tmp_path / f'{name}.pth')
        assert words in str(caught.value) and f'{name}.pth' in str(caught.value) and '\n' not in str(caught.value), name


def test_downloads_are_read_the_same_way(tmp_path, monkeypatch, safe):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    source, target = tmp_path / 'planted.pth', tmp_path / 'touched'
    torch.save({'state_dict': WEIGHTS, 'x': direct(target)}, source)

    def copy(url: str, to: str, digest: str | None, progress: bool) -> None:
        assert (url, digest) == ('https://example.org/planted-0123abcd.pth', '0123abcd')
        Path(to).write_bytes(source.read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', copy)
    with pytest.raises(SagaError, match='refused'):
        stack._load_checkpoint('https://example.org/planted-0123abcd.pth')
    assert not target.exists()

    def fail(*_: object) -> None:
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda *_, **__: fail())
    with pytest.raises(SagaError, match='could not be downloaded: no route to host'):
        stack._load_checkpoint('https://example.org/other.pth')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
def test_lists_of_classes_are_read_whatever_their_byte_order_mark(tmp_path, safe, encoding):
    from mmengine.fileio import list_from_file

    (tmp_path / 'classes.txt').write_bytes('Straße\r\n空\r\n'.encode(encoding))
    assert list_from_file(str(tmp_path / 'classes.txt')) == ['Straße', '空']


def test_addresses_that_nothing_downloads_from_are_named():
    assert is_remote('https://a.example/b.pth') and not is_remote('work_dirs/a.pth')
    for address in ('s3://bucket/a.pth', 'gs://a.pth', 'petrel://a.pth'):
        with pytest.raises(SagaError, match=rf'checkpoint {address}: .* is not read; download the file, and name it'):
            is_remote(address)
