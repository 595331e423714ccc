"""``tools/export.py``, and the tools that run what it wrote."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm import export
from saga_mm.models.enhancement.weight_files import build_enhancer, save_weights
from saga_mm.onnx.file import read_onnx
from saga_mm.runs import export as command

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

TINY = str(Path(__file__).parents[1] / 'tiny_export.py')
ARCH = {'embed_dims': [8], 'depths': [1], 'num_heads': [0], 'mlp_ratio': 1}
CONFIG = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}, 'pad_divisor': 2}


@pytest.fixture
def tool(run_here, monkeypatch, tmp_path):
    """Run the tool in a folder with weights whose answer is the image itself."""
    monkeypatch.chdir(tmp_path)
    state = build_enhancer(CONFIG).state_dict()
    state['head.conv.weight'].zero_()
    save_weights('mine.npz', CONFIG, state, licence='CC0-1.0', data='made here')
    return partial(run_here, 'export.py')


@pytest.fixture
def exporter(monkeypatch, onnx_models):
    """The exporter gives a graph that answers each image with itself: what it was called with."""
    taken = []

    def to_onnx(graph, examples, outputs, opset):
        taken.append((graph, list(examples), outputs, opset))
        nodes = [onnx.helper.make_node('Identity', ['image'], ['enhanced'])]
        if 'strength' in examples:
            nodes[0] = onnx.helper.make_node('Mul', ['strength', 'zero'], ['nothing'])
            nodes.append(onnx.helper.make_node('Add', ['image', 'nothing'], ['enhanced']))
        shape = {'enhanced': (onnx_models.FLOAT, [1, 3, 'height', 'width'])}
        inputs = tuple(name for name in ('strength', 'brightness') if name in examples)
        return onnx_models.build('enhancer', nodes, shape, inputs)

    monkeypatch.setattr(export, 'to_onnx', to_onnx)
    return taken


def test_export(tool, exporter, tmp_path):
    out, err, status = tool('mine.npz', '--opset', '21')
    assert status == 0 and not err
    lines = out.splitlines()
    difference = 'largest relative difference from PyTorch: 0.0e+00 at 96x136, 0.0e+00 at 75x61, 0.0e+00 at 160x40'
    assert lines[0] == f'verified under ONNX Runtime, {difference}'
    assert lines[1].startswith('input   image: float32') and lines[2].startswith('output  enhanced: float32')
    assert lines[3] == 'wrote mine.onnx, enhancer, 0.00 MiB, opset 21'
    ((graph, examples, outputs, opset),) = exporter
    assert (examples, outputs, opset, graph.pad_divisor) == (['image', 'strength'], ['enhanced'], 21, 2)
    facts = read_onnx('mine.onnx', 'enhancer').facts
    assert facts.licence == 'CC0-1.0' and facts.data == 'made here' and facts.strength is None

    # options before and between the names
    out, _, status = tool('--strength', '0.5', '-o', 'new/mine.onnx', 'mine.npz')
    assert status == 0 and exporter[1][1] == ['image'] and exporter[1][3] == 20
    assert read_onnx('new/mine.onnx').facts.strength == 0.5


def test_the_shipped_weights(tool, exporter, monkeypatch):
    monkeypatch.setattr(export, 'largest_difference', lambda *_: (0.0, 0.0, 0.0))
    assert tool('tiny')[2] == 0 and Path('tiny.onnx').is_file()
    assert sum(parameter.numel() for parameter in exporter[0][0].model.parameters()) > 1e5


def test_random_weights_are_said_to_be(tool, exporter, monkeypatch):
    monkeypatch.setattr(export, 'largest_difference', lambda *_: (0.0, 0.0, 0.0))
    out, _, status = tool('saga_pvt_tiny')
    assert status == 0 and 'note: the weights are random: no checkpoint was given' in out
    net = exporter[0][0].original[0]
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in net.state_dict().items()}}, 'model.pth')
    out, _, status = tool('saga_pvt_tiny', 'model.pth', '--force')
    assert status == 0 and 'random' not in out
    again = exporter[1][0].original[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('absent.npz',), 'weights absent.npz: no such file, and not among those that come with saga_mm'),
        (('absent',), 'config absent: no such file'),
        (('text.npz',), 'weights text.npz: no complete file of weights of saga_mm'),
        (('mine.npz', '-o', 'there.onnx'), 'there.onnx: exists already; --overwrite replaces it'),
        (('mine.npz', '-o', 'a.pth'), 'a.pth: name the file to write a.onnx'),
        (('mine.npz', '-o', 'folder.onnx', '--force'), 'folder.onnx: is a folder'),
        (('mine.npz', '-o', 'text.npz/a.onnx'), 'text.npz/a.onnx: could not be written'),
        (('mine.npz', '--opset', '16'), '--opset 16: choose one from 17 to 23'),
        (('mine.npz', '--strength', '-1'), '--strength -1.0: must be a number from 0 on'),
        (('mine.npz', '--strength', 'nan'), '--strength nan: must be a number from 0 on'),
        (('mine.npz', '--result', 'scores'), '--result: is not for weights of an enhancer, which mine.npz is'),
        (('mine.npz', 'some.pth'), 'a checkpoint: is not for weights of an enhancer'),
        (('saga_pvt_tiny', '--strength', '1'), '--strength: is not for backbone'),
        (('saga_pvt_tiny', 'a.pth'), 'checkpoint a.pth: no such file'),
        ((TINY,), f'config {TINY}: name its checkpoint as well'),
        ((TINY, 'a.pth'), 'checkpoint a.pth: no such file'),
        ((TINY, 'some.pth', '--strength', '1'), '--strength: for low-light enhancement, and config'),
    ],
)
def test_bad_input_is_one_line(tool, monkeypatch, tmp_path, words, said):
    # none of them is found out after the work
    monkeypatch.delattr(export, 'to_onnx')
    Path('text.npz').write_text('no weights')
    Path('some.pth').touch()
    Path('there.onnx').write_text('precious')
    Path('folder.onnx').mkdir()
    out, err, status = tool(*words)
    assert status == 2 and not out
    assert err.startswith(f'error: {said}') and err.count('\n') == 1
    assert Path('there.onnx').read_text() == 'precious' and not list(tmp_path.glob('.saga_mm*'))


def test_missing_libraries_are_one_line(tool, monkeypatch):
    monkeypatch.setattr(command, 'LIBRARIES', ('onnx', 'no_such_library'))
    out, err, status = tool('mine.npz')
    assert status == 2 and not out
    assert err == 'error: ONNX export needs no_such_library: pip install no_such_library\n'


def picture(path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 190, (30, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_enhance_with_an_exported_file(run_here, onnx_models, make_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = picture(tmp_path / 'a.png')
    path = onnx_models.save(onnx_models.enhancer(), tmp_path / 'mine.onnx')
    out, _, status = run_here('enhance.py', 'a.png', '--weights', path, '--strength', '0.8')
    assert status == 0 and 'done     a.png -> a_enhanced.png  (40 x 30' in out
    assert (np.asarray(Image.open('a_enhanced.png')) == pixels + 51).all()

    pytest.importorskip('av')
    make_video(tmp_path / 'clip.mp4', [pixels] * 3)
    out, _, status = run_here('enhance.py', 'clip.mp4', '--weights', path)
    said = 'failed   clip.mp4: an exported enhancer carries no tone from frame to frame, so that a video would flicker'
    assert status == 1 and said in out and not Path('clip_enhanced.mp4').exists()

    onnx_models.save(onnx_models.segmentor(), path)
    out, err, status = run_here('enhance.py', 'a.png', '--overwrite', '--weights', path)
    assert status == 2 and err == f'error: {path}: is of kind segmentor, and a file of kind enhancer is needed here\n'


def test_predict_with_an_exported_file(run_here, onnx_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = picture(tmp_path / 'a.png')
    Path('some.pth').touch()
    path = onnx_models.save(onnx_models.segmentor(), tmp_path / 'mine.onnx')
    # an option between the two names
    out, _, status = run_here('predict.py', path, '--out', 'out', 'a.png')
    assert status == 0 and '1 picture segmented' in out
    assert (np.asarray(Image.open('out/maps/a.png')) == (pixels[..., 0] > 127)).all()

    for words, said in (
        ((path, 'some.pth', 'a.png'), f'{path}: has its weights and options in it'),
        ((path, 'a.png', '--max-memory', '1GB'), '--max-memory 1GB: an exported segmentor does a picture in one piece'),
        ((path, 'a.png', '--score-thr', '0.5'), '--score-thr: for detection'),
        ((TINY, 'a.png'), f'config {TINY}: name its checkpoint as well'),
        (('absent.onnx', 'a.png'), 'absent.onnx: no such file'),
    ):
        out, err, status = run_here('predict.py', *words)
        assert status == 2 and err.startswith(f'error: {said}') and err.count('\n') == 1
