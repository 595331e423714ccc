"""Makes the Python environment of one stack from nothing, in six steps; one that is complete is left alone.

usage: python tools/setup_env.py [onedl|original]

`make setup` finds a suitable Python and calls this. Standard library only: it runs before anything is installed. An
interrupted set-up goes on where it stopped when it is started again. Exit status 0, 1 (failed) or 130 (interrupted).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from setup_machine import (
    SetupError,
    base_python,
    check_compiler,
    clock,
    compile_progress,
    parallel_jobs,
    python_name,
    run_logged,
)

ROOT = Path(__file__).resolve().parent.parent
STACKS = {'onedl': ('.venv', 'requirements.txt'), 'original': ('.venv-original', 'requirements-original.txt')}
COMMON = 'requirements-common.txt'
OPENCV = 'opencv-python-headless'
# measured on two cores, compiling for the CPU
COMPILE_CORE_MINUTES = 28

TRY_OPS = """
import sys, torch
from importlib.metadata import version
assert version(sys.argv[1]) == sys.argv[2]
from mmcv.ops import nms
device = 'cuda' if torch.cuda.is_available() else 'cpu'
boxes, scores = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7.0]]).to(device), torch.tensor([0.9, 0.8]).to(device)
assert nms(boxes, scores, 0.5)[1].tolist() == [0]
"""
TRY_ALL = """
import sys, cv2, matplotlib, pycocotools, pytest, scipy, skimage, torch
import mmcv.ops, mmdet.models, mmengine, mmseg.models, saga_mm
assert torch.__version__.split('+')[0] == sys.argv[1], f'torch is {torch.__version__}, expected {sys.argv[1]}'
"""
TRY_OPENCV = """
from importlib.metadata import distributions
names = {d.metadata['Name'] or '' for d in distributions()}
print(*[name for name in names if name.lower().startswith('opencv')], flush=True)
import cv2
assert cv2.imread
"""
LACKS_NVCC = """
import torch
from torch.utils.cpp_extension import CUDA_HOME
assert torch.cuda.is_available() and CUDA_HOME is None
"""


def pin(name_end: str, file: str) -> tuple[str, str]:
    """Name and version of the pinned package whose name ends so, from a requirements file."""
    match = re.search(rf'^(\S*{re.escape(name_end)})==(\S+)', (ROOT / file).read_text(), re.MULTILINE)
    if match is None:
        raise SetupError(f'{file} pins no {name_end}')
    return match.group(1), match.group(2)


class Environment:
    """One stack's virtual environment, its log, and the stamp that says it is complete."""

    def __init__(self, stack: str) -> None:
        folder, self.requirements = STACKS[stack]
        self.folder = ROOT / folder
        self.python = self.folder / 'bin' / 'python'
        self.stamp = self.folder / 'saga_mm-complete'
        self.log = ROOT / 'build' / f'setup-{stack}.log'
        self.step = 0

    def fingerprint(self) -> str:
        """Changes with anything that the environment is made from, its place and its Python too."""
        digest = hashlib.sha256(f'{sys.version}\n{self.folder}\n'.encode())
        for name in (COMMON, self.requirements, 'pyproject.toml', 'tools/setup_env.py'):
            digest.update((ROOT / name).read_bytes())
        return digest.hexdigest()

    def complete(self) -> bool:
        return self.python.exists() and self.stamp.is_file() and self.stamp.read_text() == self.fingerprint()

    def usable(self) -> bool:
        """Whether the folder holds a whole virtual environment of this Python that has not been moved."""
        activate = self.folder / 'bin' / 'activate'
        if not activate.is_file() or str(self.folder) not in activate.read_text():
            return False
        return self.ask('import sys, pip; print(sys.version)').stdout.strip() == sys.version.strip()

    def variables(self) -> dict[str, str]:
        unwanted = {'PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_NO_DEPS', 'VIRTUAL_ENV'}
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        return kept | {
            # torch looks for ninja on the PATH
            'PATH': f'{self.folder / "bin"}{os.pathsep}{kept.get("PATH", "")}',
            'PIP_USER': '0',
            'PIP_NO_INPUT': '1',
            'PIP_DISABLE_PIP_VERSION_CHECK': '1',
            'MMCV_WITH_OPS': '1',
            'MAX_JOBS': str(parallel_jobs()),
        }

    def ask(self, code: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs some Python inside the environment; a Python that cannot start counts as a failure."""
        command = [str(self.python), '-c', code, *args]
        try:
            return subprocess.run(command, env=self.variables(), cwd=self.folder, text=True, capture_output=True)
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, '', str(error))

    def run(self, *command: str, **kwargs) -> None:
        run_logged(list(command), self.log, env=self.variables(), cwd=ROOT, **kwargs)

    def pip(self, *args: str, **kwargs) -> None:
        self.run(str(self.python), '-m', 'pip', 'install', *args, **kwargs)

    def announce(self, text: str) -> None:
        self.step += 1
        print(f'step {self.step} of 6: {text}', flush=True)

    def make(self) -> None:
        """The six steps. Each finds what an earlier, interrupted run left, and does the rest."""
        self.announce(f'a virtual environment in {self.folder.name}, Python {sys.version.split()[0]}')
        if not self.usable():
            self.create()
        self.drop_half_installed()
        if not self.ops_work():
            check_compiler()
        torch = '=='.join(pin('torch', COMMON))
        self.announce(f'{torch}, minutes if it has to be downloaded')
        self.pip('=='.join(pin('pip', COMMON)), torch)
        self.announce(f'what the libraries need ({COMMON})')
        self.pip('-r', COMMON)
        self.install_libraries()
        self.announce('one OpenCV, and saga_mm itself')
        self.keep_one_opencv()
        self.pip('--no-deps', '--no-build-isolation', '-e', '.')
        self.announce('a check that everything imports')
        answer = self.ask(TRY_ALL, pin('torch', COMMON)[1])
        if answer.returncode:
            raise SetupError(f'{answer.stderr}\nThe environment does not work. Remove {self.folder} and try again.')

    def create(self) -> None:
        if self.folder.exists():
            if any(self.folder.iterdir()) and not (self.folder / 'pyvenv.cfg').exists():
                raise SetupError(f'{self.folder} exists and is no virtual environment. Move it away and try again.')
            print('  the one there is unfinished, was moved or is of another Python: making it anew', flush=True)
            shutil.rmtree(self.folder)
        if importlib.util.find_spec('ensurepip') is None:
            raise SetupError(
                f'{sys.executable} cannot make virtual environments. On Debian and Ubuntu: apt install '
                f'{python_name()}-venv. Or name another Python: make setup PYTHON=/path/to/python3.11'
            )
        self.run(base_python(), '-m', 'venv', str(self.folder))

    def drop_half_installed(self) -> None:
        """Forgets packages whose installation was cut short: pip would neither replace nor remove them."""
        for packages in self.folder.glob('lib/python*/site-packages'):
            cut = [info for info in packages.glob('*.dist-info') if not (info / 'RECORD').is_file()]
            for folder in [*cut, *packages.glob('~*')]:
                shutil.rmtree(folder, ignore_errors=True)

    def ops_work(self) -> bool:
        return self.ask(TRY_OPS, *pin('mmcv', self.requirements)).returncode == 0

    def install_libraries(self) -> None:
        """The stack's four libraries, without their dependencies, and mmcv's operators compiled against our torch."""
        how = ('--no-deps', '--no-build-isolation')
        if self.ops_work():
            self.announce("the libraries; mmcv's operators are compiled already")
            self.pip(*how, '-r', self.requirements)
            return
        if self.ask(LACKS_NVCC).returncode == 0:
            raise SetupError(
                "torch sees a GPU, and mmcv's operators for it need nvcc, which is missing. Install the CUDA toolkit "
                "of torch's version and set CUDA_HOME. Or use the CPU alone: export CUDA_VISIBLE_DEVICES= and repeat."
            )
        jobs = parallel_jobs()
        self.announce(
            f"compiling mmcv's operators, {jobs} at a time: about {max(1, COMPILE_CORE_MINUTES // jobs)} minutes, once "
            '(longer for a GPU, seconds if pip kept an earlier build)'
        )
        self.pip('-v', *how, '-r', self.requirements, progress=compile_progress)
        mmcv = pin('mmcv', self.requirements)
        if not self.ops_work():
            print('  the mmcv that was kept has no operators for this torch: compiling it anew', flush=True)
            self.pip('-v', *how, '--no-cache-dir', '--force-reinstall', '=='.join(mmcv), progress=compile_progress)
        answer = self.ask(TRY_OPS, *mmcv)
        if answer.returncode:
            raise SetupError(f'{answer.stderr}\nmmcv was compiled, and its operators do not work. See {self.log}')

    def keep_one_opencv(self) -> None:
        """Two OpenCV wheels share one folder, so removing one spoils the other: the right one is put back whole."""
        answer = self.ask(TRY_OPENCV)
        found = answer.stdout.split()
        if found == [OPENCV] and answer.returncode == 0:
            return
        if found:
            self.run(str(self.python), '-m', 'pip', 'uninstall', '-y', *found)
        self.pip('--no-deps', '=='.join(pin(OPENCV, COMMON)))


def set_up(stack: str) -> None:
    """Makes the stack's environment unless it is complete; a second set-up at the same time waits for the first."""
    environment = Environment(stack)
    if environment.complete():
        return
    environment.log.parent.mkdir(exist_ok=True)
    with environment.log.with_suffix('.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('another set-up of this environment is at work: waiting for it', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if environment.complete():
            return
        start = time.monotonic()
        print(f'setting up the {stack} stack; the log is {environment.log.relative_to(ROOT)}', flush=True)
        environment.stamp.unlink(missing_ok=True)
        environment.log.write_text('')
        environment.make()
        unfinished = environment.stamp.with_suffix('.part')
        unfinished.write_text(environment.fingerprint())
        unfinished.replace(environment.stamp)
        print(f'{environment.folder.name} is ready, after {clock(time.monotonic() - start)}', flush=True)


def main(argv: list[str]) -> int:
    if {'-h', '--help'} & set(argv):
        print(__doc__)
        return 0
    try:
        stack = argv[0] if argv else 'onedl'
        if stack not in STACKS or len(argv) > 1:
            raise SetupError(f'usage: python tools/setup_env.py [{"|".join(STACKS)}]')
        set_up(stack)
    except SetupError as error:
        print(f'set-up failed: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up interrupted; the next one goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
