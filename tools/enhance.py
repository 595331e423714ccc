"""The same as ``saga-mm enhance``: python tools/enhance.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('enhance')
