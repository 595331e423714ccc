"""The same as ``saga-mm gates``: python tools/visualize_gates.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('gates')
