from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook

from saga_mm.errors import SagaError
from saga_mm.models.enhancement.weight_files import build_enhancer, load_weights, read_weights
from saga_mm.runs.publish import publish_weights

CONFIG = """
model = dict(
    type='saga_mm.LowLightEnhancer',
    backbone=dict(
        type='saga_mm.SAGAUNet',
        arch=dict(embed_dims=(8, 8, 16), depths=(1, 1, 1), num_heads=(0, 1, 2), mlp_ratio=2),
    ),
    losses=[dict(type='saga_mm.CharbonnierLoss'), dict(type='saga_mm.SSIMLoss')],
)
"""
ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> None:
    (tmp_path / 'config.py').write_text(CONFIG)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = build_enhancer({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}})
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return built


def test_a_checkpoint(model):
    state = {**model.state_dict(), 'losses.1.window': torch.zeros(3)}
    torch.save({'state_dict': state, 'meta': {}}, 'epoch_3.pth')
    made = publish_weights('config.py', 'epoch_3.pth', 'out/small.npz', licence='CC0-1.0', data='nothing')
    header, stored = read_weights('out/small.npz')
    assert header == made.header and (header['licence'], header['data']) == ('CC0-1.0', 'nothing')
    assert set(stored) == set(model.state_dict()) and {value.dtype for value in stored.values()} == {torch.float16}
    assert made.parameters == sum(value.numel() for value in model.parameters())
    assert made.size == Path('out/small.npz').stat().st_size
    assert 0 < made.change < 2
    image = torch.rand(1, 3, 20, 24)
    assert (load_weights('out/small.npz').enhance(image) - model.enhance(image)).abs().max() < 0.02

    with pytest.raises(SagaError, match=r'out/small\.npz: exists already; --overwrite replaces it'):
        publish_weights('config.py', 'epoch_3.pth', 'out/small.npz')
    assert publish_weights('config.py', 'epoch_3.pth', 'out/small.npz', full=True, overwrite=True).change == 0


def test_averaged_weights_of_the_best_in_a_folder(model):
    hook = EMAHook(momentum=0.5)
    hook.before_run(SimpleNamespace(model=model))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hook.ema_model.update_parameters(model)
    for parameter in model.parameters():
        parameter.data += 1
    hook.ema_model.update_parameters(model)
    checkpoint = {'state_dict': model.state_dict(), 'meta': {}}
    hook.before_save_checkpoint(None, checkpoint)
    Path('work').mkdir()
    torch.save(checkpoint, 'work/best_psnr_iter_5.pth')
    publish_weights('config.py', 'work', 'averaged.npz', full=True)
    for name, value in load_weights('averaged.npz').state_dict().items():
        assert torch.allclose(value, before[name] + 0.5, atol=1e-6), name


def test_refused(model):
    state = model.state_dict()
    torch.save({'state_dict': {f'other.{name}': value for name, value in state.items()}}, 'other.pth')
    with pytest.raises(SagaError, match=r'checkpoint other\.pth: none of its \d+ weights fits this LowLightEnhancer'):
        publish_weights('config.py', 'other.pth', 'a.npz')
    Path('detector.py').write_text("model = dict(type='MaskRCNN')")
    with pytest.raises(SagaError, match=r'config detector\.py: is of a MaskRCNN; only a LowLightEnhancer'):
        publish_weights('detector.py', 'other.pth', 'a.npz')
    torch.save({'state_dict': state}, 'good.pth')
    with pytest.raises(SagaError, match=r'a\.pth: weights are written as \.npz'):
        publish_weights('config.py', 'good.pth', 'a.pth')
    assert not list(Path().glob('a.*'))
