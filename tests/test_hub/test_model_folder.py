"""Folders of models: round trips, other sources, and what is refused."""

import json
import os
from pathlib import Path

import pytest
import torch

import saga_mm
from saga_mm.errors import SagaError

pytest.importorskip('safetensors')
from safetensors.torch import load_file, save_file

NESTED = b'{"format": 1, "kind": "backbone", "model": {"a": ' + b'[' * 940 + b']' * 940 + b'}}'
ROOT = Path(__file__).resolve().parents[2]
THIN = {'embed_dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1), 'num_heads': (1, 1, 1, 1)}
THIN_PVT = {**THIN, 'mlp_ratios': (2, 2, 2, 2), 'sr_ratios': (8, 4, 2, 1)}


@pytest.fixture
def folder(tmp_path) -> Path:
    return saga_mm.save(saga_mm.create_backbone('saga_pvt_tiny', arch=THIN_PVT, out_indices=(1, 3)), tmp_path / 'pvt')


def change(folder: Path, **model) -> None:
    path = folder / 'config.json'
    content = json.loads(path.read_text())
    content['model'] |= model
    path.write_text(json.dumps(content))


def test_backbone_round_trip(tmp_path):
    model = saga_mm.create_backbone('saga_swin_tiny', arch=THIN, out_indices=(0, 2)).eval()
    folder = saga_mm.save(model, tmp_path / 'swin')
    assert sorted(os.listdir(folder)) == ['README.md', 'config.json', 'model.safetensors']
    assert "saga_mm.load('swin')" in (folder / 'README.md').read_text()
    loaded = saga_mm.load(folder)
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    image = torch.rand(1, 3, 45, 70)
    with torch.no_grad():
        assert all(map(torch.equal, loaded(image), model(image)))
    again = saga_mm.save(loaded, tmp_path / 'again')
    assert (again / 'model.safetensors').read_bytes() == (folder / 'model.safetensors').read_bytes()


@pytest.mark.parametrize('save', [saga_mm.save, lambda model, folder: model.save(folder)])
def test_enhancer_round_trip(tmp_path, save):
    model = saga_mm.load('tiny')
    loaded = saga_mm.load(save(model, tmp_path / 'tiny'))
    image = torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image))


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.', 'module.backbone.'])
def test_published_file(tmp_path, prefix, golden):
    model = saga_mm.create_backbone('pvt_v2_b0')
    case = golden('pvt_v2_b0')
    path = tmp_path / 'published.pth'
    torch.save({prefix + name: value for name, value in case.state.items()}, path)
    loaded = saga_mm.load(path)
    assert type(loaded) is type(model) and not loaded.training


def test_wrapped_weights(folder):
    file = folder / 'model.safetensors'
    state = load_file(file)
    save_file({f'_orig_mod.module.{name}': value for name, value in state.items()}, file)
    assert all(torch.equal(value, state[name]) for name, value in saga_mm.load(folder).state_dict().items())


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'type': 'os.system'}, "type='os.system' is no part of saga_mm"),
        ({'type': 'SAGAUNet'}, "type='SAGAUNet' is no backbone"),
        ({'type': None}, 'type=None is no backbone'),
        ({'attention': 'builtins.eval'}, "attention='builtins.eval' is no part"),
        ({'init_cfg': {'type': 'Pretrained', 'checkpoint': 'x'}}, "type='Pretrained' is no part"),
        ({'arch': 'small'}, 'does not fit the model of config.json, first at'),
        ({'arch': 'none'}, 'cannot be built by saga_mm'),
        ({'archh': 'tiny'}, 'cannot be built by saga_mm'),
        ({'drop_path_rate': 1e9}, 'drop_path_rate=1000000000.0 is no part'),
    ],
)
def test_config_that_is_refused(folder, options, words):
    change(folder, **options)
    with pytest.raises(SagaError, match='.*'.join(words.split())) as caught:
        saga_mm.load(folder)
    assert str(caught.value).startswith(str(folder)) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('file', 'content', 'words'),
    [
        ('config.json', None, 'holds no config.json'),
        ('config.json', b'{"model', 'cannot be read as JSON'),
        ('config.json', b'[' * 100_000, 'cannot be read as JSON'),
        ('config.json', b'[]', 'names no model'),
        ('config.json', b'{"model": {}, "format": 2, "kind": "backbone"}', 'not known to'),
        ('config.json', b'{"model": {}, "format": 1, "kind": ["backbone"]}', 'not known to'),
        ('config.json', NESTED, 'is no backbone|JSON'),
        ('model.safetensors', None, r'holds no model\.safetensors'),
        ('model.safetensors', b'half', 'no complete file of safetensors'),
        ('model.safetensors', b'\2\0\0\0\0\0\0\0{}more', 'no complete file of safetensors'),
    ],
)
def test_damaged_folder(folder, file, content, words):
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    with pytest.raises(SagaError, match=words):
        saga_mm.load(folder)


def test_broken_numbers_are_neither_written_nor_read(folder, tmp_path):
    model = saga_mm.load(folder)
    state = load_file(folder / 'model.safetensors')
    name = next(iter(state))
    state[name].view(-1)[0] = torch.nan
    save_file(state, folder / 'model.safetensors')
    with pytest.raises(SagaError, match=f'{name} holds NaN'):
        saga_mm.load(folder)
    model.load_state_dict(state)
    with pytest.raises(SagaError, match=f'not written, since {name} holds NaN'):
        saga_mm.save(model, tmp_path / 'other')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda value: (value * 100).to(torch.int8), 'holds int8, which is no float32'),
        (lambda value: value > 0, 'holds bool, which is no float32'),
        (lambda value: torch.full_like(value, 1e300, dtype=torch.float64), 'holds NaN or infinity'),
    ],
)
def test_numbers_of_other_types(folder, change, words):
    file = folder / 'model.safetensors'
    state = load_file(file)
    name = next(iter(state))
    save_file({**state, name: change(state[name])}, file)
    with pytest.raises(SagaError, match=f'{name} {words}'):
        saga_mm.load(folder)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_is_taken(folder, dtype):
    file = folder / 'model.safetensors'
    state = load_file(file)
    save_file({name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}, file)
    for name, value in saga_mm.load(folder).state_dict().items():
        assert torch.equal(value, state[name].to(dtype if value.is_floating_point() else value.dtype).to(value.dtype))


def test_a_file_that_is_larger_than_its_head_says_is_not_read(folder):
    os.truncate(folder / 'model.safetensors', 2**40)
    with pytest.raises(SagaError, match='it does not have the size that its head says'):
        saga_mm.load(folder)


def test_published_weights_that_diverged(tmp_path, golden):
    state = dict(golden('pvt_v2_b0').state)
    name = next(name for name, value in state.items() if value.is_floating_point())
    torch.save({**state, name: torch.full_like(state[name], torch.nan)}, tmp_path / 'published.pth')
    with pytest.raises(SagaError, match=f'{name} holds NaN'):
        saga_mm.load(tmp_path / 'published.pth')


def test_what_is_not_there_or_not_to_be_saved(tmp_path, monkeypatch):
    with pytest.raises(SagaError, match='no such folder or file, and none of base'):
        saga_mm.load(tmp_path / 'nothing')
    with pytest.raises(SagaError, match=r'bse: no such folder or file, and none of base, .*; did you mean base\?'):
        saga_mm.load('bse')
    with pytest.raises(SagaError, match='File name too long'):
        saga_mm.load('x' * 5000)
    with pytest.raises(SagaError, match=r"create_backbone\('pvt_tiny'\) builds it"):
        saga_mm.load('pvt_tiny')
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    with pytest.raises(SagaError, match='pip install huggingface_hub'):
        saga_mm.load('someone/something')
    with pytest.raises(SagaError, match='a Linear is no backbone, enhancer, detector, segmentor or classifier'):
        saga_mm.save(torch.nn.Linear(2, 2), tmp_path / 'linear')
    model = type(saga_mm.create_backbone('saga_pvt_tiny'))(arch='tiny')
    with pytest.raises(SagaError, match='this PVT was built by itself; name what of'):
        model.save(tmp_path / 'pvt')
    with pytest.raises(SagaError, match=r'config\.json: not written, since the config has other than plain values'):
        model.save(tmp_path / 'pvt', {'type': 'PVT', 'arch': 'tiny', 'attention': type(model)})
    assert not (tmp_path / 'pvt').exists()
    assert (
        saga_mm.load(model.save(tmp_path / 'pvt', {'type': 'saga_mm.PVT', 'arch': 'tiny'})).built_of['arch'] == 'tiny'
    )


def test_torch_hub(folder):
    models = torch.hub.load(str(ROOT), 'load', str(folder), source='local')
    assert type(models).__name__ == 'PVT'
    assert type(torch.hub.load(str(ROOT), 'backbone', 'swin_tiny', source='local')).__name__ == 'Swin'
