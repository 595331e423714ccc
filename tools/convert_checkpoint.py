"""The same as ``saga-mm convert``: python tools/convert_checkpoint.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('convert')
