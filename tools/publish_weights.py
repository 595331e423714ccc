"""The same as ``saga-mm publish``: python tools/publish_weights.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('publish')
