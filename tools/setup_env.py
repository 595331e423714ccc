"""Makes the Python environment of one stack from nothing; one that is complete is left alone.

usage: python tools/setup_env.py [onedl|original] [--ops]

`make setup` finds a suitable Python and calls this. Nothing is compiled, except mmcv's operators with --ops, into an
environment of its own. Standard library only: it runs before anything is installed. An environment that an interrupted
set-up left is made anew. Exit status 0, 1 (failed) or 130 (interrupted).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STACKS = {'onedl': ('.venv', 'requirements.txt'), 'original': ('.venv-original', 'requirements-original.txt')}
COMMON = 'requirements-common.txt'
# settings of pip that uv knows by another name
UV_NAMES = {
    'PIP_INDEX_URL': 'UV_DEFAULT_INDEX',
    'PIP_EXTRA_INDEX_URL': 'UV_INDEX',
    'PIP_FIND_LINKS': 'UV_FIND_LINKS',
    'PIP_CERT': 'SSL_CERT_FILE',
}
HAS_COMPILED = 'import mmcv, torch, mmcv._ext; assert not mmcv._ext.__file__.endswith(".py")'
TRY_ALL = """
import saga_mm.operators.__main__
print(saga_mm.operators.__main__.main([]))
import cv2, mmdet, mmengine, mmseg, torch
from mmcv.ops import nms
assert nms(torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7.0]]), torch.tensor([0.9, 0.8]), 0.5)[1].tolist() == [0]
print(saga_mm.operators.in_use())
"""
LACKS_NVCC = """
import torch
from torch.utils.cpp_extension import CUDA_HOME
assert torch.cuda.is_available() and CUDA_HOME is None
"""


class SetupError(Exception):
    """What went wrong and what to do, for the user to read."""


def pins(file: str) -> dict[str, str]:
    """Names and versions that a requirements file pins, without the files that it includes."""
    return dict(re.findall(r'^([\w-]+)==(\S+?)(?:;.*)?$', (ROOT / file).read_text(), re.MULTILINE))


class Environment:
    """One stack's virtual environment, and the stamp that says it is complete."""

    def __init__(self, stack: str, ops: bool = False) -> None:
        folder, self.requirements = STACKS[stack]
        self.ops = ops
        self.folder = ROOT / (folder + '-ops' * ops)
        self.python = str(self.folder / 'bin' / 'python')
        self.stamp = self.folder / 'saga_mm-complete'
        self.unfinished = self.folder / 'saga_mm-unfinished'
        self.uv = True

    def fingerprint(self) -> str:
        """Changes with anything that the environment is made from, its place and its Python too."""
        digest = hashlib.sha256(f'{sys.version}\n{self.folder}\n'.encode())
        for name in (COMMON, self.requirements, 'pyproject.toml', 'tools/setup_env.py'):
            digest.update((ROOT / name).read_bytes())
        return digest.hexdigest()

    def complete(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text() == self.fingerprint() and os.access(self.python, os.X_OK)

    def ask(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs some Python inside the environment; a Python that cannot start counts as a failure."""
        command = [self.python, '-c', code]
        try:
            return subprocess.run(command, env=self.variables(), cwd=self.folder, text=True, capture_output=True)
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, '', str(error))

    def variables(self) -> dict[str, str]:
        unwanted = {'PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_NO_DEPS', 'VIRTUAL_ENV'}
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        kept |= {uv: kept[pip] for pip, uv in UV_NAMES.items() if kept.get(pip) and uv not in kept}
        return kept | {
            # torch looks for ninja on the PATH
            'PATH': f'{self.folder / "bin"}{os.pathsep}{kept.get("PATH", "")}',
            'PIP_USER': '0',
            'PIP_NO_INPUT': '1',
            'PIP_DISABLE_PIP_VERSION_CHECK': '1',
            # as pip does: the newest version that any index has
            'UV_INDEX_STRATEGY': 'unsafe-best-match',
            'UV_HTTP_TIMEOUT': kept.get('PIP_DEFAULT_TIMEOUT', '60'),
            'MMCV_WITH_OPS': str(int(self.ops)),
            'MAX_JOBS': kept.get('MAX_JOBS') or str(parallel_jobs()),
        }

    def run(self, *command: str) -> None:
        if subprocess.run(command, env=self.variables(), cwd=ROOT).returncode:
            raise SetupError(
                f'this command failed: {" ".join(command)}\nIf it is the network, run the same make command again.'
            )

    def install(self, *what: str) -> None:
        """By uv, in seconds; by pip where uv did not come or fails, since pip reads settings that uv does not know."""
        if self.uv:
            try:
                self.run(self.python, '-m', 'uv', 'pip', 'install', '--python', self.python, *what)
                return
            except SetupError:
                self.uv = False
                say('uv could not install this: pip goes on')
        self.run(self.python, '-m', 'pip', 'install', *what)

    def make(self) -> None:
        """The four steps."""
        say(f'step 1 of 4: a virtual environment in {self.folder.name}, Python {sys.version.split()[0]}')
        found = self.ask('import pip, sys; print(sys.prefix, sys.version)').stdout.strip()
        if found != f'{self.folder} {sys.version}' or self.unfinished.exists():
            self.create()
        self.stamp.unlink(missing_ok=True)
        self.unfinished.touch()
        with suppress(SetupError):
            self.run(self.python, '-m', 'pip', 'install', '-q', f'uv=={pins(COMMON)["uv"]}')
        say(f'step 2 of 4: torch {pins(COMMON)["torch"]} and what the libraries need ({COMMON})')
        self.install('-r', COMMON)
        say(f'step 3 of 4: the libraries of OpenMMLab ({self.requirements})')
        self.install_libraries()
        say('step 4 of 4: saga_mm itself, and a try')
        self.install('--no-deps', '--no-build-isolation', '-e', '.')
        answer = self.ask(TRY_ALL)
        if answer.returncode:
            raise SetupError(f'{answer.stderr}\nThe environment does not work. Remove {self.folder} and try again.')
        say(answer.stdout.strip().splitlines()[-1])
        self.unfinished.unlink()
        self.stamp.write_text(self.fingerprint())

    def create(self) -> None:
        if self.folder.exists() and not (self.folder / 'pyvenv.cfg').is_file():
            raise SetupError(f'{self.folder} exists and is no virtual environment; move it away')
        shutil.rmtree(self.folder, ignore_errors=True)
        # the Python outside any virtual environment: ours may be the one that runs this
        base = sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)
        self.run(base, '-m', 'venv', str(self.folder))

    def install_libraries(self) -> None:
        """The stack's libraries, without the second OpenCV that they ask for. Compiled operators that work are kept."""
        wanted = pins(self.requirements)
        mmcv = next(name for name in wanted if 'mmcv' in name)
        version, compiled = wanted.pop(mmcv), self.ask(HAS_COMPILED).returncode == 0
        kept = compiled and f'{version}' in self.ask('import mmcv; print(mmcv.__version__)').stdout
        self.install('--no-deps', *(f'{name}=={number}' for name, number in wanted.items()))
        if kept:
            say("mmcv's operators are compiled already")
            return
        if self.ops or any(self.folder.glob('lib/python*/site-packages/mmcv/_ext.*.so')):
            # none where some are wanted, or some for another torch
            self.run(self.python, '-m', 'pip', 'uninstall', '-y', 'mmcv', 'mmcv-lite', 'onedl-mmcv')
        # what an installer built before and kept may hold operators for another torch, or none
        how = ('--no-deps', '--no-cache-dir')
        if not self.ops:
            # an isolated build sees no torch, and so compiles nothing
            self.install(*how, f'{mmcv}=={version}')
            return
        if self.ask(LACKS_NVCC).returncode == 0:
            raise SetupError(
                "torch sees a GPU, and mmcv's operators for it need nvcc, which is missing. Install the CUDA toolkit "
                "of torch's version and set CUDA_HOME. Or use the CPU alone: export CUDA_VISIBLE_DEVICES= and repeat."
            )
        say("compiling mmcv's operators: a quarter of an hour on two cores, longer for a GPU")
        self.install(*how, '--no-build-isolation', f'{mmcv.removesuffix("-lite")}=={version}')
        answer = self.ask(HAS_COMPILED)
        if answer.returncode:
            raise SetupError(f'{answer.stderr}\nmmcv has no operators that work: are gcc and g++ installed?')


def parallel_jobs() -> int:
    """Compilers to run at once: one a core, as far as 2 GiB of memory for each are there."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return max(1, min(os.cpu_count() or 1, memory // 2**31))


def say(text: str) -> None:
    print(text, flush=True)


def set_up(stack: str, ops: bool) -> None:
    """Makes the stack's environment unless it is complete; a second set-up at the same time waits for the first."""
    environment = Environment(stack, ops)
    if environment.complete():
        return
    (ROOT / 'build').mkdir(exist_ok=True)
    with (ROOT / 'build' / f'{environment.folder.name}.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('another set-up of this environment is at work: waiting for it')
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not environment.complete():
            start = time.monotonic()
            environment.make()
            say(f'{environment.folder.name} is ready, after {time.monotonic() - start:.0f} s')


def main(argv: list[str]) -> int:
    if {'-h', '--help'} & set(argv):
        print(__doc__)
        return 0
    try:
        stacks = [name for name in argv if name != '--ops'] or ['onedl']
        if len(stacks) > 1 or stacks[0] not in STACKS:
            raise SetupError(f'usage: python tools/setup_env.py [{"|".join(STACKS)}] [--ops]')
        set_up(stacks[0], '--ops' in argv)
    except SetupError as error:
        print(f'set-up failed: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up interrupted; the next one starts again', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
