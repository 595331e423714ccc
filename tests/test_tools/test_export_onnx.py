import json
from functools import partial

import pytest

from saga_mm.engine import export
from saga_mm.models.enhancement.weights import build_enhancer, save_weights

make = pytest.importorskip('onnx.helper')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

ARCH = {'embed_dims': [8], 'depths': [1], 'num_heads': [0], 'mlp_ratio': 1}
CONFIG = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}, 'pad_divisor': 2}


@pytest.fixture
def tool(run_here, monkeypatch, tmp_path):
    """Run the tool in a folder with weights."""
    monkeypatch.chdir(tmp_path)
    state = build_enhancer(CONFIG).state_dict()
    # at first an answer is nearly the image
    state['head.conv.weight'].zero_()
    save_weights('mine.npz', CONFIG, state, licence='CC0-1.0', data='made here')
    return partial(run_here, 'export_onnx.py')


@pytest.fixture
def exporter(monkeypatch):
    """The exporter gives a graph that answers each image with itself, as these weights do: what it was called with."""
    taken = []
    image, answer = (make.make_tensor_value_info(n, 1, [1, 3, 'H', 'W']) for n in (export.IMAGE, export.ANSWER))
    graph = make.make_graph([make.make_node('Identity', [export.IMAGE], [export.ANSWER])], 'itself', [image], [answer])
    proto = make.make_model(graph, opset_imports=[make.make_opsetid('', 20)], ir_version=10)
    monkeypatch.setattr(export, 'onnx_model', lambda *words: taken.append(words) or proto)
    return taken


def test_export(tool, exporter, monkeypatch, tmp_path):
    out, err, status = tool('--weights', 'mine.npz', '--opset', '21')
    assert status == 0 and not err
    assert out.splitlines() == [
        'verified under ONNX Runtime at 96x136, 75x61, 160x40: at most 0.0e+00 from PyTorch',
        'wrote mine.onnx, 0.00 MiB, opset 21',
    ]
    ((model, facts, opset),) = exporter
    assert json.loads(facts['model']) == CONFIG and facts['licence'] == 'CC0-1.0' and facts['data'] == 'made here'
    assert opset == 21 and model.pad_divisor == 2

    monkeypatch.setattr(export, 'RUNTIME', 'absent')
    out, _, status = tool('--weights', 'mine.npz', '-o', 'new/mine.onnx')
    assert status == 0 and out.startswith('not verified: onnxruntime is not installed')
    assert (tmp_path / 'new/mine.onnx').stat().st_size and exporter[1][2] == 20


def test_the_shipped_weights_by_default(tool, exporter, monkeypatch, tmp_path):
    monkeypatch.setattr(export, 'RUNTIME', 'absent')
    for words in ((), ('--variant', 'base', '--force')):
        assert tool(*words)[2] == 0 and (tmp_path / 'base.onnx').is_file()
    assert sum(parameter.numel() for parameter in exporter[1][0].parameters()) > 1e6


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--weights', 'absent'), 'weights absent: no such file, and not among those that come with saga_mm'),
        (('--variant', 'huge'), 'weights huge: no such file, and not among those that come with saga_mm'),
        (('--weights', 'text.npz'), 'weights text.npz: no complete file of weights of saga_mm'),
        (('--weights', 'mine.npz', '-o', 'there.onnx'), 'there.onnx: exists already; --force replaces it'),
        (('--weights', 'mine.npz', '-o', 'a.pth'), 'a.pth: name the file to write a.onnx'),
        (('--weights', 'mine.npz', '-o', 'folder.onnx', '--force'), 'folder.onnx: is a folder'),
        (('--weights', 'mine.npz', '-o', 'text.npz/a.onnx'), 'text.npz/a.onnx: could not be written'),
        (('--weights', 'mine.npz', '--opset', '9'), '--opset 9: choose one from 18 to 23'),
    ],
)
def test_bad_input_is_one_line(tool, monkeypatch, tmp_path, words, said):
    # none of them is found out after the work
    monkeypatch.delattr(export, 'onnx_model')
    (tmp_path / 'text.npz').write_text('no weights')
    (tmp_path / 'there.onnx').write_text('precious')
    (tmp_path / 'folder.onnx').mkdir()
    out, err, status = tool(*words)
    assert status == 2 and not out
    assert err.startswith(f'error: {said}') and err.count('\n') == 1
    assert (tmp_path / 'there.onnx').read_text() == 'precious'


def test_missing_libraries_are_one_line(tool, monkeypatch):
    monkeypatch.setattr(export, 'NEEDED', ('onnx', 'no_such_library'))
    out, err, status = tool('--weights', 'mine.npz')
    assert status == 2 and not out
    assert err == 'error: ONNX export needs no_such_library: pip install no_such_library\n'
