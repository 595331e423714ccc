"""The same as ``saga-mm rank``: python tools/analyze_rank.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('rank')
