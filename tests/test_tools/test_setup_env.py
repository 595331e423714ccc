"""The set-up of the environment: when it has nothing to do, what it repairs, what it refuses. Nothing is installed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The two modules of the set-up, working on a scratch repository."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import setup_env
    import setup_machine

    for name in ('requirements-common.txt', 'requirements.txt', 'requirements-original.txt', 'pyproject.toml'):
        (tmp_path / name).write_bytes((TOOLS.parent / name).read_bytes())
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'setup_env.py').write_text('')
    monkeypatch.setattr(setup_env, 'ROOT', tmp_path)
    return setup_env, setup_machine


@pytest.fixture
def environment(modules):
    """A complete environment, as far as its stamp goes."""
    made = modules[0].Environment('onedl')
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    made.stamp.write_text(made.fingerprint())
    return made


def test_complete_environment_is_left_alone(modules, environment, capsys):
    assert modules[0].main(['onedl']) == 0
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_sets_nothing_up(modules, option, capsys):
    assert modules[0].main([option]) == 0
    assert 'usage: python tools/setup_env.py' in capsys.readouterr().out


@pytest.mark.parametrize('file', ['requirements-common.txt', 'requirements.txt', 'pyproject.toml'])
def test_changed_requirements_reopen_the_set_up(modules, environment, file):
    with (modules[0].ROOT / file).open('a') as changed:
        changed.write('\n')
    assert not environment.complete()


def test_failed_set_up_leaves_no_stamp(modules, environment, monkeypatch, capsys):
    environment.stamp.write_text('of an earlier state')

    def fail(self):
        raise modules[0].SetupError('the index is away')

    monkeypatch.setattr(modules[0].Environment, 'make', fail)
    assert modules[0].main(['onedl']) == 1
    assert 'the index is away' in capsys.readouterr().err
    assert not environment.stamp.exists()


def test_unfinished_or_moved_environment_is_not_used(environment):
    assert not environment.usable()
    (environment.folder / 'bin' / 'activate').write_text('VIRTUAL_ENV=/some/other/place/.venv')
    assert not environment.usable()


def test_folder_of_somebody_else_is_not_removed(modules, environment):
    with pytest.raises(modules[1].SetupError, match='no virtual environment'):
        environment.create()
    assert environment.python.exists()


def test_half_installed_packages_are_forgotten(environment):
    packages = environment.folder / 'lib' / 'python3.11' / 'site-packages'
    for name in ('whole-1.0.dist-info', 'cut-1.0.dist-info', '~emoved'):
        (packages / name).mkdir(parents=True)
    (packages / 'whole-1.0.dist-info' / 'RECORD').touch()
    environment.drop_half_installed()
    assert [path.name for path in packages.iterdir()] == ['whole-1.0.dist-info']


def test_unknown_stack(modules, capsys):
    assert modules[0].main(['neither']) == 1
    assert 'onedl|original' in capsys.readouterr().err


def test_missing_compiler_is_named(modules, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler -O2')
    with pytest.raises(modules[1].SetupError, match='no-such-compiler was not found'):
        modules[1].check_compiler()


def test_jobs_follow_memory_and_request(modules, monkeypatch):
    monkeypatch.delenv('MAX_JOBS', raising=False)
    monkeypatch.setattr(modules[1], 'free_memory', lambda: 3 * 2**30)
    assert modules[1].parallel_jobs() == 1
    monkeypatch.setenv('MAX_JOBS', '7')
    assert modules[1].parallel_jobs() == 7


def test_progress_reads_ninjas_count(modules, tmp_path):
    log = tmp_path / 'log'
    log.write_text('  [1/80] c++ -c a.cpp\n  [20/80] c++ -c b.cpp\nwarning: x[3/4] is odd\n')
    assert modules[1].compile_progress(log, 60) == '20 of 80 files compiled, about 3:00 left'


def test_failed_command_shows_the_end_of_its_log(modules, tmp_path):
    command = [sys.executable, '-c', 'print("why it failed"); raise SystemExit(3)']
    with pytest.raises(modules[1].SetupError, match='why it failed'):
        modules[1].run_logged(command, tmp_path / 'log')


@pytest.mark.skipif(not Path('/proc/self/cmdline').exists(), reason='counts processes in /proc')
def test_interruption_ends_the_whole_family(tmp_path):
    parent = (
        'import subprocess, sys; subprocess.run([sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]])'
    )
    code = f"""
import signal, sys
from pathlib import Path
sys.path.insert(0, {str(TOOLS)!r})
import setup_machine
signal.signal(signal.SIGTERM, signal.default_int_handler)
setup_machine.run_logged([sys.executable, '-c', {parent!r}, {str(tmp_path)!r}], Path({str(tmp_path / 'log')!r}))
"""
    process = subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.DEVNULL)
    assert wait_for(lambda: family(tmp_path) >= 3)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert wait_for(lambda: family(tmp_path) == 0)


def family(marker: Path) -> int:
    """Number of living processes that name the folder on their command line."""
    found = 0
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            found += str(marker).encode() in path.read_bytes()
        except OSError:
            continue
    return found


def wait_for(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()
