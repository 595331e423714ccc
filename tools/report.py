"""The same as ``saga-mm report``: python tools/report.py --help"""

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    run_verb('report')
