"""The same as ``saga-mm flops``: python tools/get_flops.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('flops')
