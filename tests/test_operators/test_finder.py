"""Which operators are found. Imports happen once, so one test runs in a process of its own."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.operators import __main__ as command
from saga_mm.operators import extension, in_use
from saga_mm.operators.finder import OperatorFinder, install

BOXES = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7.0]]), torch.tensor([0.9, 0.8])


@pytest.fixture
def ours(monkeypatch) -> ModuleType:
    """The substitutes, as if mmcv had no operators, and no torchvision was found yet."""
    spec = OperatorFinder.find_spec('mmcv._ext')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, 'mmcv._ext', module)
    extension.torchvision.cache_clear()
    yield module
    extension.torchvision.cache_clear()


def test_substitutes_serve_mmdet_and_what_is_missing_says_so_when_called(bare_forker):
    # first, so that they are found whatever mmcv has
    code = (
        'import sys; from saga_mm.operators.finder import OperatorFinder; sys.meta_path.insert(0, OperatorFinder)\n'
        "sys.modules['torchvision'] = None\n"
        'import torch, mmdet.models, mmseg.models, mmcv.ops, saga_mm\n'
        'print(saga_mm.operators.in_use())\n'
        'boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7.0]])\n'
        'print(mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist())\n'
        'try: mmcv.ops.nms_match(torch.ones(2, 5), 0.5)\n'
        'except saga_mm.SagaError as error: print(error)'
    )
    found, kept, error = bare_forker.run_code(code).written('out').splitlines()
    assert found == 'operators: in PyTorch (mmcv is installed without compiled ones)'
    assert kept == '[0]'
    assert error.startswith('nms_match needs the compiled operators of mmcv') and 'make setup OPS=1' in error


def test_torchvision_comes_before_ours(ours, monkeypatch):
    vision, ops = ModuleType('torchvision'), ModuleType('torchvision.ops')
    vision.ops, vision.__version__ = ops, '9.9'
    ops.nms = lambda boxes, scores, threshold: torch.tensor([1])
    ops.roi_align = lambda maps, rois, size, *how: maps.sum().expand(len(rois), maps.shape[1], *size)
    monkeypatch.setitem(sys.modules, 'torchvision', vision)
    monkeypatch.setitem(sys.modules, 'torchvision.ops', ops)
    assert in_use() == 'operators: NMS and RoIAlign of torchvision 9.9, others in PyTorch'
    # torchvision knows no offset
    assert [ours.nms(*BOXES, 0.5, offset).tolist() for offset in (0, 1)] == [[1], [0]]
    maps, gradient = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    rois, out = torch.zeros(1, 5), torch.zeros(1, 1, 2, 2)
    how = (2, 2, 1.0, 0, 1, True)
    ours.roi_align_forward(maps, rois, out, None, None, *how)
    ours.roi_align_backward(torch.ones_like(out), rois, None, None, gradient, *how)
    assert out.tolist() == [[[[9, 9], [9, 9]]]] and gradient.tolist() == [[[[4.0] * 3] * 3]]


def test_torchvision_that_cannot_be_imported_is_passed_over(ours, monkeypatch):
    class Broken:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.startswith('torchvision'):
                raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [Broken, *sys.meta_path])
    assert in_use() == 'operators: in PyTorch (mmcv is installed without compiled ones)'
    assert ours.nms(*BOXES, 0.5, 0).tolist() == [0]


def test_compiled_operators_come_first(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', ModuleType('mmcv._ext'))
    assert in_use() == "operators: mmcv's compiled ones"


def test_without_mmcv(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    assert in_use() == 'operators: none, mmcv is not installed'


def test_installed_once_and_last():
    install()
    assert sys.meta_path.count(OperatorFinder) == 1
    assert OperatorFinder.find_spec('mmcv.ops') is None


def test_a_late_import_is_told(monkeypatch):
    monkeypatch.setattr(sys, 'meta_path', [found for found in sys.meta_path if found is not OperatorFinder])
    monkeypatch.setitem(sys.modules, 'mmdet.structures', sys)
    monkeypatch.delitem(sys.modules, 'mmcv.ops', raising=False)
    with pytest.warns(UserWarning, match='Import saga_mm first, or run `python -m saga_mm.operators`'):
        install()


@pytest.fixture
def bare_mmcv(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / 'mmcv'
    folder.mkdir()
    (folder / '__init__.py').touch()
    spec = importlib.util.spec_from_file_location('mmcv', folder / '__init__.py')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
    return folder


def test_file_for_scripts_that_import_mmdet_first(bare_mmcv):
    file = bare_mmcv / '_ext.py'
    assert command.main([]) == command.main([]) == f'wrote {file}'
    written = runpy.run_path(str(file))
    assert written['STANDS_IN'] and written['nms'] is extension.nms
    assert written['__getattr__']('deform_conv_forward').__name__ == 'deform_conv_forward'
    assert command.main(['--remove']) == f'{file} is removed' and not file.exists()


def test_file_is_not_written_beside_compiled_operators(bare_mmcv):
    (bare_mmcv / '_ext.cpython-311-x86_64-linux-gnu.so').touch()
    assert 'is compiled already' in command.main([])
    assert not (bare_mmcv / '_ext.py').exists()


def test_command_without_mmcv_or_with_other_options(monkeypatch):
    assert command.main(['--remve']).splitlines()[2].startswith('usage: ')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SagaError, match='mmcv is not installed'):
        command.main([])
