"""The same as ``saga-mm export``: python tools/export.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('export')
