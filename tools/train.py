"""The same as ``saga-mm train``: python tools/train.py --help"""

import signal

if __name__ == '__main__':
    # without a traceback until the tool can say a line
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from saga_mm.cli.main import run_verb

    run_verb('train')

if __name__ == '__mp_main__':
    # workers of data loaders that are not forked: substitutes for mmcv's operators come before the data set
    import saga_mm  # noqa: F401
