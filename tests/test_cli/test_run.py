import errno
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saga_mm.cli.run import run_tool
from saga_mm.errors import SagaError, SharedError
from saga_mm.loading.config import find_config, load_config


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)


def test_reads_a_config_and_sets_options(tmp_path):
    write(tmp_path, base='a = dict(b=1, c=[1, 2])', child="_base_ = 'base.py'\nd = 3")
    cfg = load_config(tmp_path / 'child.py', {'a.b': 5, 'new.key': 'x'})
    assert cfg.a == {'b': 5, 'c': [1, 2]} and cfg.d == 3 and cfg.new.key == 'x'


def test_finds_shipped_configs_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('saga_maskrcnn.py', 'configs/saga_maskrcnn.py'):
        assert find_config(name).name == 'saga_maskrcnn.py'


@pytest.mark.parametrize(
    ('files', 'words'),
    [
        ({'child': 'a = 1\nb = (2'}, ['child.py, line 2', 'syntax error']),
        ({'child': "_base_ = 'base.py'", 'base': 'a = (2'}, ['base.py, line 1', 'inherited by', 'syntax error']),
        ({'child': "_base_ = 'gone.py'"}, ['child.py: inherits from', 'gone.py, which does not exist']),
        ({'child': 'a = 1\nb = unknown'}, ['child.py, line 2', 'NameError', 'unknown']),
        ({'child': "_base_ = 'base.py'\na = dict(b=1)", 'base': 'a = 1'}, ['child.py', '_delete_=True']),
        ({'child': "_base_ = 'base.py'\nb = {{_base_.c}}", 'base': 'a = 1'}, ['child.py', 'KeyError: c']),
        ({'child': "custom_imports = dict(imports=['not_there'])"}, ['custom_imports', "No module named 'not_there'"]),
        ({'child': "a = '{{$SAGA_NOT_SET:}}'"}, ['SAGA_NOT_SET']),
    ],
)
def test_names_the_file_and_the_line_of_a_mistake(tmp_path, files, words):
    write(tmp_path, **files)
    with pytest.raises(SagaError) as caught:
        load_config(tmp_path / 'child.py')
    message = str(caught.value)
    assert '\n' not in message and 'sys.path' not in message
    for word in words:
        assert word in message


def test_missing_config_suggests_close_names(tmp_path):
    with pytest.raises(SagaError, match=r'no such file; close names: .*saga_maskrcnn\.py'):
        find_config('saga_mask_rcnn.py')
    with pytest.raises(SagaError, match='is a folder'):
        find_config(tmp_path)
    (tmp_path / 'notes.txt').write_text('a = 1')
    with pytest.raises(SagaError, match=r'one of \.py'):
        find_config(tmp_path / 'notes.txt')


def test_option_that_does_not_fit(tmp_path):
    write(tmp_path, child='a = 1')
    with pytest.raises(SagaError, match=r'^cfg_options=a\.b: does not fit'):
        load_config(tmp_path / 'child.py', {'a.b': 1})


def test_an_option_whose_key_is_misspelt(tmp_path):
    write(tmp_path, child='train_cfg = dict(max_epochs=1)\ntrain_dataloader = dict(batch_size=1)')
    with pytest.raises(SagaError, match=r'^cfg_options=trian_cfg\.max_epochs: .* did you mean train_cfg\?'):
        load_config(tmp_path / 'child.py', {'trian_cfg.max_epochs': 4})
    # keys that a config may have
    cfg = load_config(tmp_path / 'child.py', {'val_dataloader.batch_size': 2, 'test_cfg.type': 'x', 'load_from': 'y'})
    assert cfg.val_dataloader.batch_size == 2 and cfg.load_from == 'y'


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('model.test_cfg.moode', 'did you mean mode'),
        ('optim_wrapper.paramwise_cfg.norm_decay_multi', 'did you mean norm_decay_mult'),
        ('optim_wrapper.paramwise_cfg.depth', 'it takes custom_keys, base_lr'),
        ('train_dataloader.dataset.filter_cfg.filter_empty', 'did you mean filter_empty_gt'),
        ('stages.1.lengths', 'did you mean length'),
    ],
)
def test_a_key_inside_that_nobody_reads(tmp_path, option, said):
    write(
        tmp_path,
        child="""
model = dict(type='x', test_cfg=dict(mode='whole'))
optim_wrapper = dict(type='y', paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0))))
train_dataloader = dict(dataset=dict(type='z', filter_cfg=dict(min_size=3)))
stages = [dict(length=1), dict(length=2)]
""",
    )
    with pytest.raises(SagaError, match=rf'^cfg_options={option}: .*{said}'):
        load_config(tmp_path / 'child.py', {option: 4})
    # what a class takes, what has any name, and what is like nothing that is there
    fine = {
        'model.test_cfgs': 1,
        'optim_wrapper.paramwise_cfg.custom_keys.norms.decay_mult': 0,
        'optim_wrapper.paramwise_cfg.bias_lr_mult': 2,
        'model.test_cfg.stride': 3,
        'stages.0.width': 1,
        'new.key.inside': 1,
    }
    cfg = load_config(tmp_path / 'child.py', fine)
    assert cfg.stages[0].width == 1 and cfg.model.test_cfg.stride == 3


def test_run_tool_prints_one_line_and_sets_the_status(capsys, monkeypatch):
    def fail(error: BaseException):
        def main() -> None:
            raise error

        return main

    for error, status, words in [
        (SagaError('wrong file'), 2, 'error: wrong file\n'),
        (KeyboardInterrupt(), 130, '\nuse --resume\n'),
    ]:
        with pytest.raises(SystemExit) as caught:
            run_tool(fail(error), interrupted='use --resume')
        assert caught.value.code == status
        assert capsys.readouterr().err == words

    monkeypatch.setenv('RANK', '3')
    monkeypatch.setattr('saga_mm.cli.run.OTHERS_WAIT', 0)
    with pytest.raises(SystemExit):
        run_tool(fail(SagaError('wrong file')))
    assert capsys.readouterr().err == '[rank 3] error: wrong file\n'
    with pytest.raises(SystemExit, match='130'):
        run_tool(fail(KeyboardInterrupt()))
    # what the first process tells for all
    with pytest.raises(SystemExit):
        run_tool(fail(SharedError('other files')))
    assert capsys.readouterr().err == ''

    with pytest.raises(ZeroDivisionError):
        run_tool(fail(ZeroDivisionError()))
    run_tool(lambda: print('done', file=sys.stdout))
    assert capsys.readouterr().out == 'done\n'


def test_letters_that_the_encoding_of_a_terminal_lacks(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', screen)
    run_tool(lambda: print('Gebäude \udce9'))
    screen.flush()
    assert screen.buffer.getvalue() == b'Geb\\xe4ude \\udce9\n'


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP'])
def test_a_signal_ends_a_tool_with_a_line_and_without_temporary_files(tmp_path, name):
    code = (
        'import signal, time; from saga_mm.cli.run import run_tool; from saga_mm.files import Draft\n'
        # the tests themselves may run where it is ignored, as under nohup
        'signal.signal(signal.SIGHUP, signal.SIG_DFL)\n'
        'def main():\n'
        f'    with Draft({str(tmp_path / "result")!r}):\n'
        "        print('ready', flush=True); time.sleep(60)\n"
        "run_tool(main, 'Continue so.')"
    )
    tool = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert tool.stdout.readline() == 'ready\n'
    number = getattr(signal, name)
    tool.send_signal(number)
    error = tool.communicate(timeout=60)[1]
    assert tool.returncode == 128 + number and error.split('\n') == ['', f'Ended by {name}: Continue so.', '']
    assert not list(tmp_path.iterdir())


def test_an_interruption_that_a_library_made_an_error_of_its_own_is_one(capsys):
    """mmengine formats configs within ``except:``."""

    def main() -> None:
        try:
            raise KeyboardInterrupt
        except BaseException:
            raise SyntaxError('failed to format') from None

    with pytest.raises(SystemExit) as end:
        run_tool(main, interrupted='Stopped here.')
    assert end.value.code == 130 and capsys.readouterr().err == '\nStopped here.\n'


@pytest.mark.parametrize(
    ('error', 'status', 'said'),
    [
        (PermissionError(errno.EACCES, 'Permission denied', 'a/b.png'), 2, 'error: a/b.png: Permission denied\n'),
        (OSError(errno.ENAMETOOLONG, 'File name too long', 'aa.png'), 2, 'error: aa.png: File name too long\n'),
    ],
)
def test_what_the_system_refuses_a_user_is_one_line(capsys, error, status, said):
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert end.value.code == status and capsys.readouterr().err == said


def test_a_reader_of_the_output_that_has_gone_is_no_error():
    words = 'from saga_mm.cli.run import run_tool; run_tool(lambda: [print("x" * 1000) for _ in range(2000)])'
    process = subprocess.Popen([sys.executable, '-c', words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b'' and process.wait() == 141
