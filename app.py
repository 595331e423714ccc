"""The page for Hugging Face Spaces (``app_file: app.py``): ``saga-mm demo``, on the port that Spaces expects.

The environment variable ``SAGA_MM_DEMO`` holds further options of ``saga-mm demo``, such as ``--detect CONFIG CKPT``.
"""

import os
import shlex

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    options = shlex.split(os.environ.get('SAGA_MM_DEMO', ''))
    run_verb('demo', ['--host', '0.0.0.0', '--no-browser', *options], 'app.py')
