"""Exports of each kind, run under ONNX Runtime at sizes that they were not exported at."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm import export as module
from saga_mm.errors import SagaError
from saga_mm.export import checking, write_graph
from saga_mm.export.graphs import BackboneGraph, EnhancerGraph
from saga_mm.export.subject import with_facts
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.models.enhancement.weight_files import build_enhancer, save_weights
from saga_mm.onnx.facts import Facts
from saga_mm.onnx.file import read_onnx
from saga_mm.registry import MODELS
from saga_mm.rows import limit_chunks
from saga_mm.runs import export as command
from saga_mm.runs.export import ExportOptions, export
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.segmentation.segmenter import Segmenter

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
pytestmark = pytest.mark.usefixtures('quick_exports')

TESTS = Path(__file__).parents[1]
CONFIG = {
    'backbone': {
        'type': 'saga_mm.SAGAUNet',
        'arch': {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 1},
    },
    'exposure': {'type': 'saga_mm.Exposure'},
    'edges': 'replicate',
}
ONE_STAGE = {'embed_dims': (8,), 'depths': (1,), 'num_heads': (1,), 'mlp_ratios': (2,), 'sr_ratios': (4,)}
LOAD = """
import sys, onnxruntime
for path in sys.argv[1:]:
    onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
"""


def lively(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Weights of an enhancer, ``small.npz``, and checkpoints of the tiny configs for exports."""
    folder = tmp_path_factory.mktemp('export')
    torch.manual_seed(0)
    save_weights(folder / 'small.npz', CONFIG, lively(build_enhancer(CONFIG)).state_dict(), torch.float32, 'CC0-1.0')
    for name, package in (('tiny_export', 'mmseg'), ('tiny_export_detector', 'mmdet')):
        pytest.importorskip(package)
        state = lively(build_model(load_config(TESTS / f'{name}.py'))).state_dict()
        torch.save({'state_dict': state}, folder / f'{name}.pth')
    return folder


def run_export(folder: Path, name: str, out: str, **more):
    if name.startswith('tiny'):
        more['checkpoint'] = str(folder / f'{name}.pth')
    source = TESTS / f'{name}.py' if name.startswith('tiny') else folder / name
    return export(ExportOptions(str(source), out=str(folder / out), **more))


@pytest.fixture(scope='module')
def enhancer(folder):
    # any map would run in chunks, were it not for the graph that is being captured
    with limit_chunks(200_000):
        return run_export(folder, 'small.npz', 'new/enhancer.onnx', opset=23)


@pytest.fixture(scope='module')
def segmentor(folder):
    return run_export(folder, 'tiny_export', 'scores.onnx', task_options={'result': 'scores'}, opset=17)


@pytest.fixture(scope='module')
def labels(folder):
    return run_export(folder, 'tiny_export', 'labels.onnx')


@pytest.fixture(scope='module')
def detector(folder):
    return run_export(folder, 'tiny_export_detector', 'detector.onnx')


def session(path) -> 'onnxruntime.InferenceSession':
    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def test_an_enhancer_at_any_size_and_strength(folder, enhancer):
    assert enhancer.facts.licence == 'CC0-1.0' and json.loads(enhancer.facts.model)['backbone']
    assert max(enhancer.differences) < 1e-5 and len(enhancer.differences) == 3
    assert [file.name for file in enhancer.path.parent.iterdir()] == ['enhancer.onnx']
    run = session(enhancer.path)
    assert [(each.name, each.shape) for each in run.get_inputs()] == [
        ('image', [1, 3, 'height', 'width']),
        ('strength', []),
        ('brightness', []),
    ]
    exact = LowLightInferencer(folder / 'small.npz', 'cpu')
    exported = LowLightInferencer(enhancer.path, 'cpu')
    for size in ((72, 104), (33, 45), (1, 1), (1, 70), (67, 3)):
        for strength in (0.0, 0.4, 1.0, 1.5):
            image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
            given = {'image': image.transpose(2, 0, 1)[None], 'strength': np.array(strength, np.float32)}
            given['brightness'] = np.array(0, np.float32)
            answer = run.run(None, given)[0][0].transpose(1, 2, 0)
            assert np.abs(answer - exact(image, strength)).max() < 2e-5
            assert np.abs(exported(image, strength) - exact(image, strength)).max() < 2e-5


def test_a_brightness_acts_as_with_the_weights(folder, enhancer, tmp_path):
    exact = LowLightInferencer(folder / 'small.npz', 'cpu')
    exported = LowLightInferencer(enhancer.path, 'cpu')
    Image.fromarray(np.full((9, 9, 3), 90, np.uint8)).save(tmp_path / 'like.png')
    dark = np.random.default_rng(0).integers(0, 50, (61, 90, 3), np.uint8)
    for options in (
        {'brightness': 0.2},
        {'brightness': '0.6', 'strength': 0.7},
        {'match': tmp_path / 'like.png'},
    ):
        expected = exact(dark, **options)
        assert np.abs(exported(dark, **options).astype(int) - expected).max() <= 1, options
    luma = exported(dark, brightness=0.6) @ (0.299, 0.587, 0.114)
    assert abs(luma.mean() / 255 - 0.6) < 0.01
    assert exported(dark, brightness=0.2).mean() < exported(dark, brightness=0.6).mean() - 80


def test_a_file_without_an_input_for_the_brightness_says_so(enhancer, tmp_path):
    proto = onnx.load(enhancer.path)
    (given,) = [each for each in proto.graph.input if each.name == 'brightness']
    proto.graph.input.remove(given)
    proto.graph.initializer.append(onnx.helper.make_tensor('brightness', onnx.TensorProto.FLOAT, [], [0.0]))
    onnx.save(proto, tmp_path / 'old.onnx')
    old, dark = LowLightInferencer(tmp_path / 'old.onnx', 'cpu'), np.full((20, 30, 3), 9, np.uint8)
    assert old(dark).mean() > 9
    with pytest.raises(SagaError, match=r'^brightness=0\.3: .*old\.onnx has no such input, .*; export it anew$'):
        old(dark, brightness=0.3)


def test_memory_is_measured(enhancer):
    if sys.platform == 'linux' and not torch.cuda.is_available():
        assert 12 < enhancer.facts.bytes_per_pixel < 5000


def test_scores_give_the_labels_of_the_checkpoint(folder, segmentor):
    assert segmentor.facts.resize == {'scale': [96, 48], 'keep_ratio': True} and segmentor.facts.pad_divisor == 1
    exact = Segmenter(TESTS / 'tiny_export.py', folder / 'tiny_export.pth', 'cpu')
    exported = Segmenter(segmentor.path, device='cpu')
    assert (
        exported.classes == exact.classes and list(map(list, exported.metainfo['palette'])) == exact.metainfo['palette']
    )
    for size in ((60, 80), (31, 200), (5, 7)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        found = exact(image)
        assert len(np.unique(found)) > 1 and (exported(image) == found).mean() > 0.999


def test_labels_of_a_segmentor(folder, segmentor, labels):
    image = np.random.default_rng(0).integers(0, 256, (48, 96, 3)).astype(np.uint8)
    (found,) = session(labels.path).run(None, {'image': image.transpose(2, 0, 1)[None].astype(np.float32)})
    assert found.dtype == np.uint8 and found.shape == (1, 48, 96)
    # of this size pictures are not resized
    assert (Segmenter(segmentor.path)(image) == found[0]).mean() > 0.999
    assert (Segmenter(labels.path)(image) == found[0]).all()
    assert Segmenter(labels.path)(image[:, :33]).shape == (48, 33)


def test_a_detector_up_to_its_raw_outputs(detector):
    facts = read_onnx(detector.path, 'detector').facts
    assert facts.classes == ('disc', 'square', 'star') and facts.pad_divisor == 1
    assert json.loads(facts.head)['anchor_generator']['strides'] == [4, 8]
    outputs = session(detector.path).run(None, {'image': np.zeros((1, 3, 50, 33), np.float32)})
    assert [each.shape[1:] for each in outputs] == [(6, 13, 9), (6, 7, 5), (8, 13, 9), (8, 7, 5)]


def test_a_backbone(tmp_path):
    net = lively(MODELS.get('PVT')(arch=ONE_STAGE, attention=['saga'], out_indices=(0,), pretrain_img_size=96))
    content, facts, differences = write_graph(BackboneGraph(net), Facts('backbone', 'x'), 17)
    (tmp_path / 'a.onnx').write_bytes(content)
    assert (
        read_onnx(tmp_path / 'a.onnx', 'backbone').opset == 17 and facts.kind == 'backbone' and max(differences) < 1e-5
    )


@pytest.mark.parametrize(('name', 'meant'), [('saga_pvt_tiy', 'saga_pvt_tiny'), ('bas', 'base')])
def test_a_misspelt_source_is_answered_with_the_nearest(name, meant, tmp_path):
    with pytest.raises(SagaError, match=rf'^config {name}: no such file; .*\. Did you mean {meant}\?$'):
        export(ExportOptions(name, out=str(tmp_path / 'a.onnx')))


def test_the_runtime_says_nothing_when_a_file_is_loaded(enhancer, segmentor, labels, detector):
    paths = [str(made.path) for made in (enhancer, segmentor, labels, detector)]
    done = subprocess.run([sys.executable, '-c', LOAD, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_says_nothing_of_where_it_was_made(enhancer, segmentor):
    for made in (enhancer, segmentor):
        content = made.path.read_bytes()
        assert len(content) == made.size and str(Path(module.__file__).parents[2]).encode() not in content
        assert b'site-packages' not in content


@pytest.fixture
def written(enhancer, monkeypatch):
    """Exports give the graph that there is, whatever the model."""
    monkeypatch.setattr(module, 'to_onnx', lambda *_: onnx.load(enhancer.path))


def test_a_file_that_differs_is_not_written(written, folder, monkeypatch, tmp_path):
    other = with_facts(EnhancerGraph(build_enhancer(CONFIG)))
    monkeypatch.setattr(command, 'find_subject', lambda options: other)
    with pytest.raises(SagaError, match=r'a\.onnx: not written: its answers differ .*more than 0\.0001 \(96x136: '):
        run_export(folder, 'small.npz', str(tmp_path / 'a.onnx'))
    assert not list(tmp_path.iterdir())


def test_a_full_disk(written, folder, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(SagaError, match=r'a\.onnx: could not be written \(No space left on device'):
        run_export(folder, 'small.npz', str(tmp_path / 'a.onnx'))
    assert not list(tmp_path.iterdir())


def test_the_strength_as_a_constant(tmp_path):
    torch.manual_seed(0)
    arch = {'embed_dims': [8], 'depths': [1], 'num_heads': [0], 'mlp_ratio': 1}
    graph = EnhancerGraph(lively(build_enhancer({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': arch}})), 0.5)
    content, _, differences = write_graph(graph, Facts('enhancer', strength=0.5), 18)
    (tmp_path / 'a.onnx').write_bytes(content)
    assert [each.name for each in session(tmp_path / 'a.onnx').get_inputs()] == ['image'] and max(differences) < 1e-5
    image = torch.rand(1, 3, 20, 31)
    answer = LowLightInferencer(tmp_path / 'a.onnx', 'cpu')(image[0].permute(1, 2, 0).numpy())
    assert np.abs(answer - graph.original[0].enhance(image, 0.5)[0].permute(1, 2, 0).numpy()).max() < 2e-5
    for options in ({'brightness': 0.4}, {'denoise': 0.5}):
        with pytest.raises(SagaError, match=r'a\.onnx was exported with a constant strength; export it without'):
            LowLightInferencer(tmp_path / 'a.onnx', 'cpu')(np.zeros((9, 9, 3), np.uint8), **options)


def test_sizes_to_compare_at():
    assert len(checking.CHECKED) == 3 and any(height % 2 and width % 2 for height, width in checking.CHECKED)
