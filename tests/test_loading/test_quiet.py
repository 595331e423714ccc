import subprocess
import sys
import types
import warnings

from mmengine.logging import MMLogger, print_log
from PIL import Image

from saga_mm.loading.quiet import filter_screen, quiet_imports, silence_noise


def of_stack(code, **names):
    """Run code as if mmengine's runner had it."""
    exec(compile(code, 'x.py', 'exec'), {'__name__': 'mmengine.runner.runner', **names})


def test_screen_gets_what_matters_and_the_file_gets_all(tmp_path, capsys):
    logger = MMLogger.get_instance('test_quiet', log_file=str(tmp_path / 'a.log'))
    filter_screen(logger)
    of_stack('logger.info("Config: a = 1")\nlogger.warning("`X` will be deprecated")', logger=logger)
    of_stack('print_log("Exp name: tiny", logger)', logger=logger, print_log=print_log)
    of_stack('logger.error("no such file")', logger=logger)
    logger.info('LR is set')
    print_log('a line of a hook in a config', logger)
    logger.warning('the learning rate is 0')
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition('  ')[2] for line in lines] == [
        'error: no such file',
        'LR is set',
        'a line of a hook in a config',
        'warning: the learning rate is 0',
    ]
    for handler in logger.handlers:
        handler.flush()
    written = (tmp_path / 'a.log').read_text()
    assert all(text in written for text in ('Config: a = 1', 'will be deprecated', 'Exp name', 'LR is set'))


def test_deprecations_are_silent_and_our_warnings_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        silence_noise()
        warnings.warn('`x` is deprecated, use y', DeprecationWarning, stacklevel=1)
        warnings.warn('a change is coming', FutureWarning, stacklevel=1)
        of_stack('import warnings; warnings.warn("torch.meshgrid: in an upcoming release")')
        warnings.warn('the loss is not finite', UserWarning, stacklevel=1)
        code = compile('import warnings; warnings.warn("ours is deprecated", FutureWarning)', 'x.py', 'exec')
        exec(code, {'__name__': 'saga_mm.ops'})
    assert [str(warning.message) for warning in caught] == ['the loss is not finite', 'ours is deprecated']


def test_prints_of_the_stack(capsys, monkeypatch):
    module = types.ModuleType('pycocotools.coco')
    exec('def load(): print("index created!")', vars(module))
    monkeypatch.setitem(sys.modules, 'pycocotools.coco', module)
    module.load()
    assert capsys.readouterr().out == 'index created!\n'

    silence_noise()
    module.load()
    of_stack('print_log("Loads checkpoint by local backend from path: x.pth")', print_log=print_log)
    print_log('something a user should see')
    assert capsys.readouterr().out == 'something a user should see\n'

    with quiet_imports():
        print('Could not import')
        warnings.warn('not installed', stacklevel=1)
    assert capsys.readouterr() == ('', '')


DECODE = """
import sys
import cv2
from saga_mm.loading.quiet import silence_noise
silence_noise()
assert cv2.imread(sys.argv[1]) is not None
print('Gebäude', file=sys.stderr)
"""


def test_decoders_are_kept_from_the_screen(tmp_path):
    path = tmp_path / 'odd.png'
    Image.new('RGB', (8, 6)).save(path, icc_profile=bytes(128) + b'junk' * 10)
    done = subprocess.run([sys.executable, '-c', DECODE, path], capture_output=True, text=True, check=True)
    assert done.stderr == 'Gebäude\n'
