"""The same as ``saga-mm train``: python tools/train.py --help"""

import signal

if __name__ == '__main__':
    # without a traceback until the tool can say a line
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from saga_mm.cli.main import run_verb

    run_verb('train')
