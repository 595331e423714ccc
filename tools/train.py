"""The same as ``saga-mm train``: python tools/train.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('train')
