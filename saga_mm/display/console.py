"""Print lines, from one process of a distributed run."""

import os
import sys
import time
from pathlib import Path

# verbs whose tool has another name
TOOLS = {'check-data': 'check_dataset', 'publish': 'publish_weights', 'convert': 'convert_checkpoint'}


def is_speaker() -> bool:
    """Whether this process is the one that prints; launchers number processes before they know of each other."""
    group = sys.modules.get('torch.distributed')
    if group is not None and group.is_available() and group.is_initialized() and group.get_rank() != 0:
        return False
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


def say(text: str) -> None:
    """Print a line with the time of day, once in a distributed run."""
    if is_speaker():
        print(f'{time.strftime("%H:%M:%S")}  {text}', flush=True)


def one_line(text: str) -> str:
    """A text with its control characters, which names of files may have, written as Python does."""
    return ''.join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def command(words: str) -> str:
    """A command for the user to type, the way this program was called: ``saga-mm VERB ...`` or ``python tools/...``."""
    verb, _, rest = words.partition(' ')
    if Path(sys.argv[0]).parent.name != 'tools':
        return f'saga-mm {words}'
    return f'python tools/{TOOLS.get(verb, verb)}.py {rest}'
