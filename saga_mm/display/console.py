"""Lines on the screen, once in a distributed run."""

import os
import time

from mmengine.dist import is_main_process


def is_speaker() -> bool:
    """Whether this process is the one that prints; launchers number processes before they know of each other."""
    return is_main_process() and os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


def say(text: str) -> None:
    """Print a line with the time of day, once in a distributed run."""
    if is_speaker():
        print(f'{time.strftime("%H:%M:%S")}  {text}', flush=True)
