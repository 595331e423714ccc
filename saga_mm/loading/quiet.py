"""A readable screen: what the stack dumps goes to the log file, what a user can act upon goes to the screen."""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

# how messages of the log begin that stay off the screen: dumps of dozens of lines, words to the stack's developers, and
# what our own lines say in short
LOG_NOISE = (
    r'\s*-{20,}\s*System environment',
    r'Config:\n',
    r'Hooks will be executed',
    r'Distributed training is not used',
    r'Exp name:',
    r'Loads checkpoint by',
    r'load model from:',
    r'load \S+ in model from',
    r'Load checkpoint from',
    r'Resume checkpoint from',
    r'Auto resumed from',
    r'resumed epoch',
    r'Checkpoints will be saved to',
    r'Saving checkpoint at',
    r'The best checkpoint with',
    r'The previous best checkpoint',
    r'The model and loaded state dict do not',
    r'(?:Epoch|Iter)\((?:train|val|test)\)',
    r'Evaluating \w+\.\.\.',
    r'\w+_copypaste: ',
    r'Results has been saved',
    r'The testing results of the whole dataset is empty',
    r'Since `metrics` is an empty dict',
    r'The prefix is not set',
    r'per class results:',
    r'\n\+-',
    r'Failed to search registry',
    r'Because batch augmentations',
    r'.*(?:deprecat|will be removed|is the alias of)',
    r'.*init_weights.*more than once',
    r'.*`(?:resume|save)_param_scheduler`',
)
DUMPS = re.compile('|'.join(LOG_NOISE), re.DOTALL)
# warnings by Python's own machinery: deprecations wherever they come from, and what a user can do nothing about
WARNING_NOISE = (
    r'.*deprecat',
    r'.*will be removed',
    r'.*is not installed',
    r'.*torch\.meshgrid',
    r'.*prefix is not set in metric',
    r'.*draw is False',
    r'.*avg_non_ignore',
    r'For binary segmentation, we suggest',
    r'.*lr_scheduler\.step\(\)',
    r'.*Detected pickle protocol',
    r'.*pin_memory.*no accelerator',
    r'.*Grad strides do not match',
    r'.*backend is not initialized',
    r'.*is out of bounds, the drawn',
    r'Setting \w+_NUM_THREADS',
)
CHATTY = ('pycocotools.coco', 'pycocotools.cocoeval', 'mmdet.datasets.api_wrappers.coco_api')


def silence_noise() -> None:
    """Silence the stack's noise in the whole process: for tools, after their imports, and not for libraries."""
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning):
        warnings.filterwarnings('ignore', category=category)
    for message in WARNING_NOISE:
        warnings.filterwarnings('ignore', message=f'(?is){message}')
    warnings.filterwarnings('default', module=r'saga_mm(\.|$)')
    # a log that cannot be written on is told of by the results that cannot either, and not by a traceback a line
    logging.raiseExceptions = False
    _filter_prints()
    _silence_coco()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Import parts of the stack without what they print while doing so."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


def _filter_prints() -> None:
    """Keep :data:`DUMPS` from the screen also where mmengine prints them because it was given no logger."""
    from mmengine.logging import logger as module

    def print_unless_dump(*words: Any, **options: Any) -> None:
        if not (words and DUMPS.match(str(words[0]))):
            print(*words, **options)

    vars(module)['print'] = print_unless_dump


def _silence_coco() -> None:
    """Stop the COCO library, where it was imported, from printing its stages and tables; mmdet logs the figures."""
    for name in CHATTY:
        module = sys.modules.get(name)
        if module is not None:
            vars(module)['print'] = lambda *_, **__: None


class ScreenFilter(logging.Filter):
    """Keeps :data:`DUMPS` from the screen."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not DUMPS.match(record.getMessage())


class ScreenFormat(logging.Formatter):
    """``12:00:01  message``, and the level only if it is a warning or worse."""

    def __init__(self) -> None:
        super().__init__('%(asctime)s  %(message)s', '%H:%M:%S')

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        clock, _, message = text.partition('  ')
        return f'{clock}  {record.levelname.lower()}: {message}'


class ScreenHandler(logging.StreamHandler):
    """Writes to what standard output is at the moment; loggers of mmengine's live on after their runner."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)
        self.addFilter(ScreenFilter())
        self.setFormatter(ScreenFormat())

    @property
    def stream(self) -> TextIO:
        return sys.stdout


def filter_screen(logger: logging.Logger) -> None:
    """Filter and shorten what a logger of mmengine's puts on the screen; its file keeps everything."""
    for index, handler in enumerate(logger.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            logger.handlers[index] = ScreenHandler(handler.level)
