"""The page for Hugging Face Spaces (``app_file: app.py``): :mod:`saga_mm.pages.app`, on the port that Spaces expects.

The environment variable ``SAGA_MM_DEMO`` holds further options of ``saga-mm demo``, such as ``--detect CONFIG CKPT``.
"""

import os
import shlex

from saga_mm.pages.app import main

if __name__ == '__main__':
    main(['--host', '0.0.0.0', '--no-browser', *shlex.split(os.environ.get('SAGA_MM_DEMO', ''))])
