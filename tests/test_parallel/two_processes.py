"""``two_processes.py VERB WORDS``: two processes of ``saga-mm``, as torchrun starts them, but forked."""

import sys

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from saga_mm.cli.main import run_verb

if __name__ == '__main__':
    config = LaunchConfig(1, 1, 2, rdzv_backend='c10d', rdzv_endpoint='localhost:0', start_method='fork')
    verb, *words = sys.argv[1:]
    elastic_launch(config, run_verb)(verb, words)
