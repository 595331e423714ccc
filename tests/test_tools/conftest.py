import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saga_mm.loading.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'tests' / 'tiny.py'
TINY_SEGMENTATION = ROOT / 'tests' / 'tiny_segmentation.py'


class Payload:
    """Pickles as the call of a shell command that makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.target}',)


@pytest.fixture(scope='session')
def tiny() -> str:
    """The smallest config that trains."""
    return str(TINY)


@pytest.fixture(scope='session')
def trained(tmp_path_factory) -> Path:
    """A folder in which the tiny config was trained for two epochs: ``work_dirs/tiny/epoch_{1,2}.pth``."""
    return _train(TINY, tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='session')
def segmented(tmp_path_factory) -> Path:
    """The same for segmentation: ``work_dirs/tiny_segmentation/epoch_{1,2}.pth``."""
    return _train(TINY_SEGMENTATION, tmp_path_factory.mktemp('segmented'))


def _train(config: Path, folder: Path) -> Path:
    from saga_mm.runs.train import TrainOptions, train

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
        train(TrainOptions(config=str(config)))
    return folder


@pytest.fixture
def inside(trained, monkeypatch) -> Path:
    """The same folder, for tests that add to it, with the process in it."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def planted(trained, tmp_path) -> tuple[Path, Path]:
    """The trained checkpoint with a payload in it, and the file that the payload would make."""
    file, target = tmp_path / 'epoch_9.pth', tmp_path / 'touched'
    checkpoint = load_checkpoint(trained / 'work_dirs/tiny/epoch_2.pth')
    torch.save({**checkpoint, 'extra': Payload(target)}, file)
    return file, target


@pytest.fixture(scope='session')
def weights(tmp_path_factory) -> str:
    """Weights of a small enhancer that makes a dark picture brighter."""
    from saga_mm.models.enhancement.weight_files import build_enhancer, save_weights

    arch = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}
    config = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': arch}}
    torch.manual_seed(0)
    model = build_enhancer(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.002 if name == 'head.conv.weight' else 0.2)
    torch.nn.init.constant_(model.head.conv.bias[:12], 1.0)
    path = tmp_path_factory.mktemp('weights') / 'small.npz'
    save_weights(path, config, model.state_dict(), torch.float32)
    return str(path)


@pytest.fixture(scope='session')
def run() -> Callable[..., int]:
    """Enhance files with given weights, in this process: the exit status."""
    from saga_mm.runs.enhance import EnhanceOptions, enhance

    def run(weights: str, *inputs: object, **more: object) -> int:
        options = {'weights': weights, 'device': 'cpu', 'max_memory': None, **more}
        return enhance(EnhanceOptions([str(each) for each in inputs], **options))

    return run


@pytest.fixture(scope='session')
def start_tool() -> Callable[..., subprocess.Popen]:
    """Start a tool as a user does."""

    def start(name: str, *words: object, cwd: Path) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / 'tools' / name), *map(str, words)]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.fixture(scope='session')
def fork_tool(forker) -> Callable[..., object]:
    """The same without imports; see ``forked.py``."""

    def start(name: str, *words: object, cwd: Path) -> object:
        return forker.start(ROOT / 'tools' / name, *words, cwd=cwd, env={**os.environ, 'COLUMNS': '200'})

    return start


@pytest.fixture
def run_here(monkeypatch, capsys) -> Callable[..., tuple[str, str, int]]:
    """Run a tool in this process: its output, its errors, its status."""

    def run(name: str, *words: object) -> tuple[str, str, int]:
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}', *map(str, words)])
        status = 0
        try:
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        except SystemExit as stop:
            status = stop.code
        return (*capsys.readouterr(), status)

    return run


@pytest.fixture(scope='session')
def run_within_memory() -> Callable[..., str]:
    """Run a tool within the memory that it says is enough, and some MB more; see ``within_memory.py``."""

    def run(more: int, name: str, *words: object, cwd: Path) -> str:
        script = Path(__file__).with_name('within_memory.py')
        command = [str(word) for word in (sys.executable, script, more, ROOT / 'tools' / name, *words)]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        *lines, figures = done.stdout.splitlines()
        allowed, held = map(int, figures.split())
        assert held <= allowed
        return '\n'.join(lines)

    return run
