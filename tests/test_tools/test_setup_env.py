"""The set-up of the environment: when it has nothing to do, what it asks for, what it refuses. Nothing is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The set-up, working on a scratch repository."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import setup_env

    for name in ('requirements-common.txt', 'requirements.txt', 'requirements-original.txt', 'pyproject.toml'):
        (tmp_path / name).write_bytes((TOOLS.parent / name).read_bytes())
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'setup_env.py').write_text('')
    monkeypatch.setattr(setup_env, 'ROOT', tmp_path)
    return setup_env


@pytest.fixture
def environment(module):
    """A complete environment, as far as its stamp goes."""
    made = module.Environment('onedl')
    (made.folder / 'bin').mkdir(parents=True)
    Path(made.python).symlink_to(sys.executable)
    made.stamp.write_text(made.fingerprint())
    return made


@pytest.fixture
def installer(module, monkeypatch):
    """Records the commands of a set-up; what is asked of the environment is answered by ``answers``."""
    commands, answers = [], {module.TRY_ALL: 'operators: some'}

    def run(self, *command):
        commands.append(' '.join(command).replace(self.python, 'python'))
        if any(word in commands[-1] for word in answers.get('fails', ())):
            raise module.SetupError(commands[-1])

    def ask(self, code):
        answer = answers.get(code)
        return subprocess.CompletedProcess([], answer is None, answer or '', 'why not')

    def create(self):
        commands.append(f'create {self.folder.name}')
        if not self.folder.exists():
            (self.folder / 'bin').mkdir(parents=True)
            Path(self.python).symlink_to(sys.executable)

    monkeypatch.setattr(module.Environment, 'run', run)
    monkeypatch.setattr(module.Environment, 'ask', ask)
    monkeypatch.setattr(module.Environment, 'create', create)
    return commands, answers


def test_complete_environment_is_left_alone(module, environment, installer, capsys):
    assert module.main(['onedl']) == 0
    assert capsys.readouterr().out == '' and not installer[0]


@pytest.mark.parametrize(
    ('argv', 'folder', 'mmcv'),
    [
        (['onedl'], '.venv', '--no-cache-dir onedl-mmcv==2.3.6'),
        (['original'], '.venv-original', '--no-cache-dir mmcv-lite==2.1.0'),
    ],
)
def test_nothing_is_compiled(module, installer, argv, folder, mmcv):
    commands, _ = installer
    assert module.main(argv) == 0
    assert commands[0] == f'create {folder}'
    assert commands[2] == 'python -m uv pip install --python python -r requirements-common.txt'
    assert any(command.endswith(mmcv) for command in commands)
    assert not any('--no-build-isolation' in command for command in commands if 'mmcv' in command)
    assert module.Environment(argv[0]).complete()
    before = len(commands)
    assert module.main(argv) == 0 and len(commands) == before


def test_compiled_operators_have_an_environment_of_their_own(module, installer, capsys):
    commands, answers = installer
    assert module.main(['original', '--ops']) == 1
    assert 'no operators that work: are gcc and g++ installed?' in capsys.readouterr().err
    assert commands[0] == 'create .venv-original-ops'
    assert commands[-1].endswith('--no-deps --no-cache-dir --no-build-isolation mmcv==2.1.0')
    answers[module.LACKS_NVCC] = ''
    assert module.main(['original', '--ops']) == 1
    assert 'need nvcc, which is missing' in capsys.readouterr().err


def test_compiled_operators_that_work_are_kept(module, installer):
    commands, answers = installer
    answers |= {module.HAS_COMPILED: '', 'import mmcv; print(mmcv.__version__)': '2.3.6'}
    assert module.main(['onedl']) == 0
    assert not [command for command in commands if 'mmcv' in command]


def test_environment_of_this_python_is_used_again_unless_it_is_unfinished(module, installer, environment):
    commands, answers = installer
    answers['import pip, sys; print(sys.prefix, sys.version)'] = f'{environment.folder} {sys.version}'
    environment.stamp.write_text('older')
    assert module.main([]) == 0 and 'create .venv' not in commands
    environment.stamp.unlink()
    environment.unfinished.touch()
    assert module.main([]) == 0 and 'create .venv' in commands
    assert not environment.unfinished.exists()


def test_pip_goes_on_where_uv_fails(module, installer, capsys):
    commands, answers = installer
    answers['fails'] = ('-m uv',)
    assert module.main([]) == 0
    assert [command for command in commands if '-m uv' in command] == [commands[2]]
    assert commands[3] == 'python -m pip install -r requirements-common.txt'
    assert 'pip goes on' in capsys.readouterr().out


def test_failed_set_up_leaves_no_stamp(module, environment, installer, capsys):
    _, answers = installer
    environment.stamp.write_text('of an earlier state')
    answers['fails'] = ('-r requirements-common.txt',)
    assert module.main([]) == 1
    assert 'set-up failed: python -m pip install -r requirements-common.txt' in capsys.readouterr().err
    assert not environment.stamp.exists() and environment.unfinished.exists()


def test_failed_command_is_named(module):
    with pytest.raises(module.SetupError, match=r'this command failed: false 3\nIf it is the network'):
        module.Environment('onedl').run('false', '3')


def test_settings_of_pip_reach_uv(module, monkeypatch):
    monkeypatch.setenv('PIP_EXTRA_INDEX_URL', 'https://one')
    monkeypatch.setenv('PIP_INDEX_URL', 'https://two')
    monkeypatch.setenv('UV_DEFAULT_INDEX', 'https://three')
    monkeypatch.setenv('PYTHONPATH', 'elsewhere')
    variables = module.Environment('onedl').variables()
    assert variables['UV_INDEX'] == 'https://one' and variables['UV_DEFAULT_INDEX'] == 'https://three'
    assert 'PYTHONPATH' not in variables and variables['MMCV_WITH_OPS'] == '0'


@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_sets_nothing_up(module, option, capsys):
    assert module.main([option]) == 0
    assert 'usage: python tools/setup_env.py' in capsys.readouterr().out


@pytest.mark.parametrize('file', ['requirements-common.txt', 'requirements.txt', 'pyproject.toml'])
def test_changed_requirements_reopen_the_set_up(module, environment, file):
    with (module.ROOT / file).open('a') as changed:
        changed.write('\n')
    assert not environment.complete()


def test_folder_of_somebody_else_is_not_removed(module, environment):
    with pytest.raises(module.SetupError, match='no virtual environment'):
        environment.create()
    assert Path(environment.python).exists()


def test_unknown_stack(module, capsys):
    assert module.main(['neither']) == 1
    assert 'onedl|original' in capsys.readouterr().err


def test_jobs_follow_memory(module, monkeypatch):
    monkeypatch.setattr(module.os, 'sysconf', {'SC_PHYS_PAGES': 3 * 2**18, 'SC_PAGE_SIZE': 2**12}.get)
    assert module.parallel_jobs() == 1
