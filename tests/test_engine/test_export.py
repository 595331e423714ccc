"""A low-light enhancer as an ONNX file: one export, run under ONNX Runtime at sizes that it was not exported at."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.engine import export as module
from saga_mm.engine.export import CHECKED, TOLERANCE, Exported, export_onnx, largest_difference
from saga_mm.errors import SagaError
from saga_mm.models.backbones import chunks
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.weights import build_enhancer

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 1}


def lively(seed: int) -> LowLightEnhancer:
    torch.manual_seed(seed)
    model = build_enhancer({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}}).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope='module')
def model() -> LowLightEnhancer:
    return lively(0)


@pytest.fixture(scope='module')
def exported(model: LowLightEnhancer, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp('export') / 'new' / 'enhancer.onnx'
    with pytest.MonkeyPatch.context() as patch:
        # any map would run in chunks, were it not for the graph that is being captured
        patch.setattr(chunks, 'CHUNK_BYTES', 4096)
        return export_onnx(model.train(), path, {'model': 'small', 'licence': 'Apache-2.0'}, opset=18)


@pytest.fixture(scope='module')
def session(exported: Exported) -> 'onnxruntime.InferenceSession':
    return onnxruntime.InferenceSession(str(exported.path), providers=['CPUExecutionProvider'])


@pytest.fixture
def written(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exports give the file that there is, whatever the model."""
    monkeypatch.setattr(module, 'onnx_model', lambda *_: onnx.load(exported.path))


@pytest.mark.parametrize('size', [(72, 104), (33, 45), (1, 1), (1, 70), (67, 3), (256, 199)])
def test_answers_as_pytorch_at_any_size(model, session, size):
    image = torch.rand(1, 3, *size)
    (answer,) = session.run(None, {'image': image.numpy()})
    assert answer.shape == image.shape and answer.dtype == np.float32
    assert np.abs(answer - model.enhance(image).numpy()).max() < 2e-5


def test_strength(model, session):
    image = torch.rand(1, 3, 21, 30)
    for strength in (0.0, 0.4, 1.0, 1.5):
        given = {'image': image.numpy(), 'strength': np.array(strength, np.float32)}
        difference = np.abs(session.run(None, given)[0] - model.enhance(image, strength).numpy()).max()
        assert difference < 2e-5 and (strength or not difference)


def test_one_image_of_any_height_and_width(session):
    (image, *others), (answer,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape, answer.name) == ('image', [1, 3, 'height', 'width'], 'enhanced')
    assert answer.shape == image.shape and [(each.name, each.shape) for each in others] in ([], [('strength', [])])


def test_reports_the_largest_difference(model, exported):
    assert 0 < exported.difference < 2e-5 and 0 < largest_difference(exported.path, model) < 2e-5
    assert largest_difference(exported.path, lively(1)) > 100 * TOLERANCE
    assert len(CHECKED) == 3 and any(height % 2 and width % 2 for height, width in CHECKED)


def test_says_what_it_is(exported):
    proto = onnx.load(exported.path)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    assert facts['model'] == 'small' and facts['licence'] == 'Apache-2.0' and facts['version']
    assert 'RGB in [0, 1], NCHW' in facts['input'] and 'RGB in [0, 1], NCHW' in facts['output']
    assert [entry.version for entry in proto.opset_import if not entry.domain] == [18]


def test_says_nothing_of_where_it_was_made(exported):
    content = exported.path.read_bytes()
    assert len(content) == exported.size and str(Path(module.__file__).parents[1]).encode() not in content
    assert b'site-packages' not in content
    assert [file.name for file in exported.path.parent.iterdir()] == ['enhancer.onnx']


def test_the_model_stays_as_it_is(model, exported):
    assert model.training and {value.requires_grad for value in model.parameters()} == {True}


def test_a_file_that_differs_is_not_written(written, tmp_path):
    with pytest.raises(SagaError, match=r'a\.onnx: not written, since its answers differ .*more than 0\.0001'):
        export_onnx(lively(1), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_run_is_not_written(model, written, exported, monkeypatch, tmp_path):
    fixed = onnx.load(exported.path)
    fixed.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 7
    monkeypatch.setattr(module, 'onnx_model', lambda *_: fixed)
    with pytest.raises(SagaError, match='ONNX Runtime fails on an image of 96x136'):
        export_onnx(model, tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_a_part_that_cannot_be_expressed(tmp_path):
    class Frozen(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            return (image[:, :1, ::2, ::2].repeat(1, 8, 1, 1) * (2 if image.max() > 0.5 else 1),)

    model = lively(0)
    model.backbone = Frozen()
    with pytest.raises(SagaError, match=r'this Frozen cannot be expressed in ONNX \(.+\)$'):
        export_onnx(model, tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_bad_destinations_and_opsets(model, tmp_path, monkeypatch):
    # none of them is found out after the work
    monkeypatch.delattr(module, 'onnx_model')
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.onnx').mkdir()
    for name, opset, said in (
        ('a.pb', 20, r'a\.pb: name the file to write a\.onnx'),
        ('folder.onnx', 20, r'folder\.onnx: is a folder'),
        ('file/a.onnx', 20, r'a\.onnx: could not be written'),
        ('a.onnx', 17, r'--opset 17: choose one from 18 to 23'),
    ):
        with pytest.raises(SagaError, match=said):
            export_onnx(model, tmp_path / name, opset=opset)


def test_libraries_that_are_not_there(model, written, tmp_path, monkeypatch):
    absent = {'onnxscript', 'onnxruntime'}
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None if name in absent else name)
    with pytest.raises(SagaError, match=r'ONNX export needs onnxscript: pip install onnxscript$'):
        export_onnx(model, tmp_path / 'a.onnx')
    absent.remove('onnxscript')
    made = export_onnx(lively(1), tmp_path / 'a.onnx')
    assert made.difference is None and made.path.stat().st_size == made.size
