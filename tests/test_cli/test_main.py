import ast
import os
import re
import signal
import subprocess
import sys
from importlib.resources import as_file
from pathlib import Path

import pytest
from PIL import Image

import saga_mm
from saga_mm.cli import enhance
from saga_mm.cli.extras import INSTALLS, NEEDS, PARTS
from saga_mm.cli.main import VERBS, main, module_of

TOOLS = Path(__file__).parents[2] / 'tools'


def run(capsys: pytest.CaptureFixture, *words: str) -> tuple[str, str, int]:
    """The command in this process: its output, its errors, its status."""
    status = 0
    try:
        main(words)
    except SystemExit as stop:
        status = stop.code or 0
    return (*capsys.readouterr(), status)


LIGHT = """
import sys
from saga_mm.cli.main import VERBS, main, module_of
main(['--help'])
for verb in VERBS:
    module_of(verb).parser().format_help()
print(sorted({'torch', 'numpy', 'mmengine', 'cv2'} & set(sys.modules)))
"""


def test_help_texts_wait_for_no_library():
    done = subprocess.run([sys.executable, '-c', LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.endswith('\n[]\n') and all(f'  {verb} ' in done.stdout for verb in VERBS)


@pytest.mark.parametrize('verb', VERBS)
def test_each_verb_is_a_module_with_a_parser(verb):
    parser = module_of(verb).parser()
    assert parser.prog == f'saga-mm {verb}' and parser.description
    hidden = [action.help for action in parser._actions if action.option_strings and not action.help]
    assert not hidden
    assert callable(module_of(verb).main)


def test_tools_are_verbs():
    called = [path.read_text().partition("run_verb('")[2].partition("'")[0] for path in sorted(TOOLS.glob('*.py'))]
    assert sorted(filter(None, called)) == sorted(set(VERBS) - {'demo', 'doctor'})


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('enhanse',), 'enhanse: no such verb; did you mean enhance? saga-mm --help lists all'),
        (('--verson',), '--verson: no such option; did you mean --version? saga-mm --help lists all'),
        (
            ('train', 'a.py', '--worc-dir', 'x'),
            '--worc-dir: no such option; did you mean --work-dir? (',
        ),
        (
            ('enhance', '--engine', 'opnvino'),
            '--engine opnvino: did you mean openvino? choose one of auto',
        ),
        (('demo', '--look', 'a', 'b', 'c'), '--look a b c: takes a config or a name, and perhaps a checkpoint'),
        (('demo', '--detct', 'a', 'b'), '--detct: no such option; did you mean --detect? ('),
        (('test', 'a.py'), 'missing: checkpoint (saga-mm test --help)'),
        (('check-data', 'a.py', '--launcher', 'pytorch'), '--launcher: no such option'),
        (('train', 'a.py', '--cfg-options', 'a'), '--cfg-options: a is not KEY=VALUE (saga-mm train --help)'),
        (('enhance', '--strength', 'much'), '--strength much: is no number (saga-mm enhance --help)'),
        (('train', 'a.py', '--epochs', '1.5'), '--epochs 1.5: is no whole number (saga-mm train --help)'),
        (('demo', '--detect', 'a.py'), '--detect: takes CONFIG CHECKPOINT (saga-mm demo --help)'),
        (('enhance', 'a.jpg', '-o'), '--out: takes PATH (saga-mm enhance --help)'),
        (('convert', 'a.pth'), 'the file to write is missing; add -o FILE'),
        (
            ('convert', 'a.pth', 'b.pth', '-o', 'c.pth'),
            '-o c.pth: the file to write is already named, b.pth; leave out one of them',
        ),
        (('report', 'somewhere', '--count', '3'), '--max-pictures: goes with --pictures'),
        (('benchmark', 'op', '--backbones', 'swin'), '--backbones: does not go with op; leave it out'),
        (('benchmark', 'op', '--trace', '--no-memory'), '--no-memory: does not go with --trace; leave it out'),
        (('benchmark', 'video', '--batch', '2'), '--batch-size: does not go with video; leave it out'),
        (('test', 'a.py', 'b.pth', '--sizes', '64'), '--sizes: goes with --mode'),
        (('test', 'a.py', 'b.pth', '--score-thr', '0.5'), '--score-thr: is for the pictures of --show-dir'),
        (('doctor', '--train-img', 'a'), '--train-img: goes with --data CONFIG, which looks at data'),
    ],
)
def test_mistakes_are_one_line_with_what_was_meant(capsys, words, said):
    out, err, status = run(capsys, *words)
    assert (out, status) == ('', 2) and err.startswith(f'error: {said}') and err.count('\n') == 1


def test_help_of_a_verb_is_asked_for_in_both_ways(capsys):
    assert run(capsys, 'help') == run(capsys, '--help') == run(capsys)
    assert run(capsys, 'help', 'report') == run(capsys, 'report', '--help')


def test_earlier_spellings_go_on_working():
    old = module_of('convert').parser().parse_args(['a', 'b', '--force'])
    assert old.overwrite and module_of('flops').parser().parse_args(['a', '--shape', '3', '4']).size == [3, 4]
    for verb in ('convert', 'flops'):
        assert not {'--force', '--shape'} & set(module_of(verb).parser().format_help().split())


def test_a_library_that_is_missing_is_named_with_its_command(capsys, monkeypatch):
    def lacks(args):
        raise ModuleNotFoundError("No module named 'av'", name='av')

    monkeypatch.setattr(module_of('report'), 'main', lacks)
    _, err, status = run(capsys, 'report', 'somewhere')
    assert (err, status) == ("error: av is not installed, and this needs it: pip install 'saga-mm[video]'\n", 2)
    assert {name for names in NEEDS.values() for name in names} | {name for _, name in PARTS.values()} <= set(INSTALLS)
    monkeypatch.setitem(NEEDS, 'report', ('PIL', 'av', 'onnx', 'onnxruntime'))
    monkeypatch.setattr('saga_mm.cli.extras.find_spec', lambda name: name == 'PIL' or None)
    _, err, status = run(capsys, 'report', 'somewhere')
    what = "av, onnx, onnxruntime are not installed, and this needs them: pip install 'saga-mm[video,onnx]'"
    assert (err, status) == (f'error: {what}\n', 2)
    assert set(NEEDS) <= set(VERBS)


def test_threads_wait_without_spinning_unless_the_user_says_so(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(module_of('report'), 'main', lambda args: seen.append(os.environ['OMP_WAIT_POLICY']))
    for said in (None, 'active'):
        monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
        if said:
            monkeypatch.setenv('OMP_WAIT_POLICY', said)
        run(capsys, 'report', 'somewhere')
    assert seen == ['passive', 'active']


def test_the_sample_photograph_is_enhanced(capsys, monkeypatch, tmp_path):
    with as_file(enhance.SAMPLE) as sample:
        assert sample.stat().st_size < 300_000 and 'public domain' in sample.with_name('README.md').read_text()
        picture = Image.open(sample).reduce(8)
    (tmp_path / 'package').mkdir()
    picture.save(tmp_path / 'package' / 'night.jpg')
    monkeypatch.setattr(enhance, 'SAMPLE', tmp_path / 'package' / 'night.jpg')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    out, _, status = run(capsys, 'enhance', '--weights', 'tiny', '--engine', 'torch')
    assert status == 0 and f'the sample photograph, enhanced: {tmp_path / "here" / "night_enhanced.jpg"}\n' in out
    assert sorted(path.name for path in Path().iterdir()) == ['night_compare.jpg', 'night_enhanced.jpg']
    # again, over what is there
    assert run(capsys, 'enhance', '--weights', 'tiny', '--engine', 'torch', '-o', 'other.jpg')[2] == 0
    assert Path('other.jpg').read_bytes() == Path('night_enhanced.jpg').read_bytes()


def test_doctor_says_what_is_there_and_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr('saga_mm.cli.extras.find_spec', lambda name: None if name in ('av', 'gradio') else name)
    out, err, status = run(capsys, 'doctor')
    assert (err, status) == ('', 0)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line)
    assert {'saga_mm', 'Python', 'PyTorch', 'stack', 'operators', 'engines', 'GPU', 'memory', 'caches'} <= set(lines)
    assert set(VERBS) - {'doctor'} <= set(lines) and lines['benchmark'] == 'ready'
    assert lines['train'] == 'ready' and lines['demo'] == "lacks gradio: pip install 'saga-mm[page]'"
    assert "videos (enhance): lacks av: pip install 'saga-mm[video]'" in out


OPTION = '--[a-z][a-z0-9_-]+'
# of pip, torchrun and saga-mm itself
OF_OTHERS = {'--force-reinstall', '--nproc-per-node', '--version', '--help'}


def test_options_that_messages_name_exist():
    package = Path(saga_mm.__file__).parent
    known, named = set(OF_OTHERS), {}
    for path in package.rglob('*.py'):
        text = path.read_text()
        known |= set(re.findall(f"'({OPTION})'", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.fullmatch(OPTION, node.value):
                named |= dict.fromkeys(re.findall(rf'(?<![\w-]){OPTION}', node.value), path.name)
    assert len(named) > 30
    # tasks have options by the names of their data: train_img becomes --train-img
    for verb in VERBS:
        known |= set(module_of(verb).parser()._option_string_actions)
    assert {option: file for option, file in named.items() if option not in known} == {}


INTERRUPTED = """
import os, runpy, signal, sys, types
from saga_mm.cli.run import run_tool

def run_verb(verb):
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    run_tool(lambda: os.kill(os.getpid(), signal.SIGINT), f'{verb} is over.')

sys.modules['saga_mm.cli.main'] = types.SimpleNamespace(run_verb=run_verb)
runpy.run_path(sys.argv[1], run_name='__main__')
"""


def test_an_interrupt_while_a_tool_is_imported_is_no_traceback_and_later_a_line():
    for tool in ('train.py', 'enhance.py'):
        done = subprocess.run([sys.executable, '-c', INTERRUPTED, TOOLS / tool], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (130, f'\n{tool.removesuffix(".py")} is over.\n')


ENDING = """
import atexit, os, signal, sys
from saga_mm.cli.run import run_tool

# as at a terminal, also where the tests run in the background of a script
signal.signal(signal.SIGINT, signal.SIG_DFL)
atexit.register(lambda: [os.kill(os.getpid(), getattr(signal, name)) for name in sys.argv[1:]])
run_tool(lambda: print('done'))
"""


@pytest.mark.parametrize(
    ('signals', 'status'), [(('SIGTERM',), 0), (('SIGINT', 'SIGHUP'), 0), (('SIGINT', 'SIGINT'), -signal.SIGINT)]
)
def test_a_signal_that_comes_when_all_is_done_is_no_traceback(signals, status):
    done = subprocess.run([sys.executable, '-c', ENDING, *signals], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, 'done\n', '')
