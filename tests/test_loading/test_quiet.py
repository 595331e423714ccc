import sys
import types
import warnings

from mmengine.logging import MMLogger, print_log

from saga_mm.loading.quiet import filter_screen, quiet_imports, silence_noise


def test_screen_gets_what_matters_and_the_file_gets_all(tmp_path, capsys):
    logger = MMLogger.get_instance('test_quiet', log_file=str(tmp_path / 'a.log'))
    filter_screen(logger)
    noise = ['Config:\na = 1\n', 'Hooks will be executed in the following order:\n', '"X" will be deprecated in future']
    noise += ['Epoch(train) [1][3/3]  lr: 1.0', 'bbox_mAP_copypaste: 0.008 0.042', 'Exp name: tiny_2026']
    for text in noise:
        logger.info(text)
    logger.info('LR is set')
    logger.warning('the learning rate is 0')
    logger.error('Config: wrong')
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition('  ')[2] for line in lines] == [
        'LR is set',
        'warning: the learning rate is 0',
        'error: Config: wrong',
    ]
    for handler in logger.handlers:
        handler.flush()
    written = (tmp_path / 'a.log').read_text()
    assert all(text in written for text in [*noise, 'LR is set', 'the learning rate is 0'])


def test_deprecations_are_silent_and_our_warnings_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        silence_noise()
        warnings.warn('`x` is deprecated, use y', stacklevel=1)
        warnings.warn('a change is coming', FutureWarning, stacklevel=1)
        warnings.warn('torch.meshgrid: in an upcoming release', UserWarning, stacklevel=1)
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
    print_log('Loads checkpoint by local backend from path: x.pth')
    print_log('something a user should see')
    assert capsys.readouterr().out == 'something a user should see\n'

    with quiet_imports():
        print('Could not import')
        warnings.warn('not installed', stacklevel=1)
    assert capsys.readouterr() == ('', '')
