import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hatchling.builders.wheel import WheelBuilder

from saga_mm import shipped as module
from saga_mm.errors import SagaError
from saga_mm.models.enhancement.weight_files import (
    build_enhancer,
    load_weights,
    read_weights,
    save_weights,
    shapes_of,
)
from saga_mm.shipped import FOLDER, find_weights, shipped_weights

ROOT = Path(__file__).parents[3]
ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}
CONFIG = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}}


class Payload:
    """Pickles as the making of a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    built = build_enhancer(CONFIG).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return built


@pytest.fixture
def file(model, tmp_path) -> Path:
    path = tmp_path / 'some.npz'
    save_weights(path, CONFIG, model.state_dict(), licence='Apache-2.0', data='made here')
    return path


def rewrite(path: Path, header: dict | None = None, **arrays: np.ndarray) -> None:
    """Change a file of weights in place."""
    with np.load(path) as old:
        kept = dict(old)
    if header is not None:
        kept['header'] = np.frombuffer(
            json.dumps({**json.loads(kept['header'].tobytes()), **header}).encode(), np.uint8
        )
    np.savez(path, **{**kept, **arrays})


def test_full_precision_gives_the_same_answer(model, tmp_path):
    save_weights(tmp_path / 'full.npz', CONFIG, model.state_dict(), torch.float32)
    image = torch.rand(1, 3, 37, 51)
    assert torch.equal(load_weights(tmp_path / 'full.npz').enhance(image), model.enhance(image))


def test_half_precision_rounds_and_no_more(model, file):
    loaded = load_weights(file)
    assert not loaded.training and {value.dtype for value in loaded.parameters()} == {torch.float32}
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name
    assert file.stat().st_size < 2.5 * sum(value.numel() for value in model.parameters()) + 40_000


def test_header(file):
    header = read_weights(file).header
    assert header['model'] == json.loads(json.dumps(CONFIG)) and header['licence'] == 'Apache-2.0'
    assert header['data'] == 'made here' and header['version']


def test_what_is_for_training_is_left_out(tmp_path):
    config = {
        'type': 'saga_mm.LowLightEnhancer',
        'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH, 'init_cfg': {'type': 'Pretrained'}},
        'losses': [{'type': 'saga_mm.CharbonnierLoss'}],
        'data_preprocessor': {'type': 'saga_mm.LowLightPreprocessor'},
        'neck': None,
        'pad_divisor': 16,
    }
    state = build_enhancer({**CONFIG, 'pad_divisor': 16}).state_dict()
    kept = save_weights(tmp_path / 'a.npz', config, state)['model']
    assert set(kept) == {'backbone', 'pad_divisor'} and set(kept['backbone']) == {'type', 'arch'}
    assert load_weights(tmp_path / 'a.npz').pad_divisor == 16


def test_other_trunks_and_necks(tmp_path):
    dims = [8, 8, 16, 16]
    arch = {
        'embed_dims': dims,
        'depths': [1] * 4,
        'num_heads': [1] * 4,
        'mlp_ratios': [2] * 4,
        'sr_ratios': [8, 4, 2, 1],
    }
    config = {
        'backbone': {'type': 'saga_mm.PVT', 'arch': arch, 'attention': ['saga', 'saga', 'softmax', 'softmax']},
        'neck': {'type': 'saga_mm.SAGAPyramid', 'in_channels': dims, 'embed_dims': 8, 'num_heads': 2},
        'head': {'in_channels': dims, 'strides': [4, 8, 16, 32], 'channels': 16},
        'pad_divisor': 32,
    }
    built = build_enhancer(config).eval()
    save_weights(tmp_path / 'pvt.npz', config, built.state_dict(), torch.float32)
    image = torch.rand(1, 3, 33, 40)
    assert torch.equal(load_weights(tmp_path / 'pvt.npz').enhance(image), built.enhance(image))


@pytest.mark.parametrize(
    ('backbone', 'dims'),
    [
        ({'type': 'saga_mm.PVTv2', 'arch': 'b0', 'attention': 'mala'}, [32, 64, 160, 256]),
        ({'type': 'saga_mm.Swin', 'arch': 'tiny', 'attention': 'focused'}, [96, 192, 384, 768]),
        ({'type': 'saga_mm.CSwin', 'arch': 'tiny'}, [64, 128, 256, 512]),
        ({'type': 'saga_mm.RAVLT', 'arch': 'tiny'}, [64, 128, 256, 512]),
    ],
)
def test_shapes_are_found_without_memory(backbone, dims):
    config = {'backbone': backbone, 'head': {'in_channels': dims, 'strides': [4, 8, 16, 32], 'channels': 16}}
    state = build_enhancer(config).state_dict()
    assert shapes_of(lambda: build_enhancer(config), len(state)) == {name: value.shape for name, value in state.items()}


def test_by_name(file, monkeypatch):
    monkeypatch.setattr(module, 'FOLDER', file.parent)
    assert shipped_weights() == ['some'] and find_weights('some') == file
    with pytest.raises(SagaError, match=r'weights other: no such file, and not among .* saga_mm \(some\)'):
        load_weights('other')
    with pytest.raises(SagaError, match='is a folder'):
        load_weights(file.parent)


@pytest.mark.parametrize('name', shipped_weights())
def test_weights_that_come_with_the_package(name):
    image = torch.rand(1, 3, 24, 40) * 0.2
    answer = load_weights(name).enhance(image)
    assert answer.mean() > image.mean() and read_weights(find_weights(name)).header['licence']
    assert find_weights(name).stat().st_size <= 6 * 2**20


@pytest.mark.parametrize('name', shipped_weights())
def test_weights_whose_name_says_lol_are_for_research_alone(name):
    licence = load_weights(name).licence
    assert ('research only' in licence) == name.startswith('lol')


@pytest.mark.parametrize('parts', ['this_and_that', 'subprocess.Popen', 'saga_mm.Nothing'])
@pytest.mark.parametrize('place', ['type', 'attention', 'list', 'option'])
def test_only_parts_of_saga_mm_are_built(file, parts, place):
    backbone = {
        'type': {'type': parts, 'args': ['touch']},
        'attention': {**CONFIG['backbone'], 'attention': parts},
        'list': {**CONFIG['backbone'], 'attention': ['saga', {'type': parts}]},
        'option': {**CONFIG['backbone'], 'arch': f'{parts}.x'},
    }[place]
    rewrite(file, {'model': {'backbone': backbone}})
    with pytest.raises(SagaError, match=r'is no part of saga_mm .*, and no others are run'):
        load_weights(file)


def test_a_model_that_this_version_does_not_know(file):
    rewrite(file, {'version': '9.9', 'model': {'backbone': {'type': 'saga_mm.SAGAUNet', 'wings': 2}}})
    with pytest.raises(SagaError, match=r'written by saga_mm 9\.9, cannot be built by .*wings'):
        load_weights(file)
    rewrite(file, {'format': 2})
    with pytest.raises(SagaError, match='format 2, written by a newer saga_mm'):
        load_weights(file)


def test_weights_of_another_model_than_the_header_says(file):
    rewrite(file, extra=np.zeros(3, np.float16))
    with pytest.raises(SagaError, match='do not fit the model that their header names'):
        load_weights(file)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    'arch',
    [
        # layers without end, maps that no memory holds, numbers that are none
        {**ARCH, 'depths': (60_000, 1, 1)},
        {**ARCH, 'embed_dims': (60_000, 60_000, 60_000)},
        {**ARCH, 'embed_dims': (8, 8, 16) * 20, 'depths': (1, 1, 1) * 20, 'num_heads': (0, 1, 2) * 20},
        {**ARCH, 'mlp_ratio': 60_000},
        {**ARCH, 'depths': (10**12, 1, 1)},
        {**ARCH, 'mlp_ratio': 1e300},
        {**ARCH, 'mlp_ratio': float('nan')},
    ],
)
def test_a_header_that_asks_for_a_huge_model(file, arch):
    rewrite(file, header={'model': {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': arch}}})
    with pytest.raises(SagaError, match=r'do not fit the model|is no part of saga_mm|cannot be built'):
        load_weights(file)


@pytest.mark.parametrize('divisor', [65_536, 0, -8, 0.5, [], True])
def test_a_header_that_asks_for_a_huge_padding(file, divisor):
    rewrite(file, header={'model': {**CONFIG, 'pad_divisor': divisor}})
    with pytest.raises(SagaError, match=r'cannot be built by .*pad_divisor must be a number from 1 to 256'):
        load_weights(file)


def test_files_that_unpack_to_more_than_weights_do(file):
    rewrite(file, bomb=np.zeros(50_000_000, np.uint8))
    content = np.load(file)
    np.savez_compressed(file, **content)
    with pytest.raises(SagaError, match='it unpacks to more than 8 times its size'):
        load_weights(file)
    deep = b'[' * 200_000
    np.savez(file, header=np.frombuffer(deep, np.uint8))
    with pytest.raises(SagaError, match='no complete file of weights'):
        load_weights(file)


def test_pickles_are_not_opened(file, tmp_path):
    target = tmp_path / 'touched'
    rewrite(file, extra=np.array([Payload(target)], object))
    with pytest.raises(SagaError, match='no complete file of weights'):
        load_weights(file)
    (tmp_path / 'plain.npz').write_bytes(pickle.dumps(Payload(target)))
    with pytest.raises(SagaError, match='no complete file of weights'):
        load_weights(tmp_path / 'plain.npz')
    assert not target.exists()


@pytest.mark.parametrize('content', ['empty', 'text', 'cut', 'array', 'checkpoint', 'without header'])
def test_files_that_are_none(content, file, model, tmp_path):
    path = tmp_path / ('last.pth' if content == 'checkpoint' else 'bad.npz')
    if content == 'array':
        np.save(tmp_path / 'bad.npy', np.zeros(3))
        shutil.move(tmp_path / 'bad.npy', path)
    elif content == 'checkpoint':
        torch.save({'state_dict': model.state_dict()}, path)
    elif content == 'without header':
        np.savez(path, a=np.zeros(3))
    else:
        data = {'empty': b'', 'text': b'some text', 'cut': file.read_bytes()[:-5000]}
        path.write_bytes(data[content])
    hint = 'publish_weights' if content == 'checkpoint' else str(path)
    with pytest.raises(SagaError, match=hint):
        load_weights(path)


def test_refused_to_write(model, tmp_path):
    state = model.state_dict()
    name = next(iter(state))
    with pytest.raises(SagaError, match=rf'weights are of another model than the config \({name}\)'):
        save_weights(tmp_path / 'a.npz', CONFIG, {**state, name: torch.zeros(3)})
    with pytest.raises(SagaError, match=rf'{name} has values that torch\.float16 cannot hold'):
        save_weights(tmp_path / 'a.npz', CONFIG, {**state, name: torch.full_like(state[name], 1e6)})
    with pytest.raises(SagaError, match=r'written as \.npz'):
        save_weights(tmp_path / 'a.pth', CONFIG, state)
    with pytest.raises(SagaError, match='is no part of saga_mm'):
        save_weights(tmp_path / 'a.npz', {'backbone': {'type': 'mmdet.ResNet'}}, state)
    (tmp_path / 'file').touch()
    with pytest.raises(SagaError, match='could not be written'):
        save_weights(tmp_path / 'file' / 'a.npz', CONFIG, state)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_weights_are_packed_with_the_package(file, tmp_path):
    for name in ('pyproject.toml', '.gitignore', 'model-index.yml', 'saga_mm/version.py'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    target = tmp_path / 'saga_mm' / FOLDER.name / 'base.npz'
    target.parent.mkdir()
    file.rename(target)
    packed = {each.distribution_path for each in WheelBuilder(str(tmp_path)).recurse_included_files()}
    assert f'saga_mm/{FOLDER.name}/base.npz' in packed and FOLDER.parent.name == 'saga_mm'


def test_weights_of_a_training_that_diverged(model, file):
    bias = model.state_dict()['head.conv.bias'].numpy().astype(np.float16)
    bias[0] = np.nan
    rewrite(file, **{'head.conv.bias': bias})
    with pytest.raises(SagaError, match=r'head\.conv\.bias holds NaN or infinity'):
        load_weights(file)
