"""The same as ``saga-mm check-data``: python tools/check_dataset.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('check-data')
