"""Every tool is a program of its own, and says what it does."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
# what sets up the environment is tested in test_setup_env.py
NAMES = sorted(path.name for path in TOOLS.glob('*.py') if path.name != 'setup_env.py')


@pytest.fixture(scope='module')
def helps(tmp_path_factory) -> dict[str, tuple[int, str, str]]:
    """The status, output and errors of each tool with ``--help``, from another folder."""
    folder = tmp_path_factory.mktemp('elsewhere')
    options = dict(cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    programs = {name: subprocess.Popen([sys.executable, TOOLS / name, '--help'], **options) for name in NAMES}
    ends = {name: program.communicate(timeout=200) for name, program in programs.items()}
    return {name: (programs[name].returncode, *ends[name]) for name in NAMES}


@pytest.mark.parametrize('name', NAMES)
def test_a_tool_starts_and_explains_itself(helps, name):
    status, out, err = helps[name]
    assert (status, err) == (0, '') and out.startswith('usage: ')


WORKER = 'import runpy, sys; runpy.run_path(sys.argv[1], run_name="__mp_main__"); print("saga_mm" in sys.modules)'


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_workers_that_are_started_afresh_have_the_operators(name):
    """Python runs the program so in them, before it imports the data set, and with it mmcv's operators."""
    done = subprocess.run([sys.executable, '-c', WORKER, TOOLS / name], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('True\n', '')
