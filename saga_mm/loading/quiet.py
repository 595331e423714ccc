"""Keep the stack's long output in the log file, and what a user can act on on the screen."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from types import FrameType
from typing import Any, TextIO

from saga_mm.foundation import HAS_MMENGINE

# the lines of these packages go to the log file alone, below the level of errors; what matters of them we say ourselves
STACK = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'torch', 'torchvision', 'pycocotools', 'faster_coco_eval')
# packages through which a line goes to a logger
LOGGERS = ('logging', 'mmengine.logging', __name__)
CHATTY = ('pycocotools.coco', 'pycocotools.cocoeval', 'mmdet.datasets.api_wrappers.coco_api')


def silence_noise() -> None:
    """Silence the stack's noise in the whole process: for tools, after their imports, and not for libraries."""
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning):
        warnings.filterwarnings('ignore', category=category)
    warnings.filterwarnings('ignore', module=rf'({"|".join(STACK)})(\.|$)')
    warnings.filterwarnings('default', module=r'saga_mm(\.|$)')
    # if a log cannot be written, neither can the results, which say so in one line: no traceback for each line here
    logging.raiseExceptions = False
    _filter_prints()
    _silence_coco()
    _silence_decoders()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Import parts of the stack without what they print while doing so."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


def _of_stack(frame: FrameType | None) -> bool:
    """Whether the stack has written a line, by the first frame that does not belong to a logger."""
    while frame is not None and frame.f_globals.get('__name__', '').startswith(LOGGERS):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get('__name__', '').partition('.')[0] in STACK


def _filter_prints() -> None:
    """Keep the stack's lines from the screen also where mmengine prints them because it was given no logger."""
    if not HAS_MMENGINE:
        return
    from mmengine.logging import logger as module

    def print_unless_stack(*words: Any, **options: Any) -> None:
        if not _of_stack(sys._getframe(1)):
            print(*words, **options)

    vars(module)['print'] = print_unless_stack


def _silence_decoders() -> None:
    """Keep off the screen what libpng, libtiff and libjpeg say of odd pictures while OpenCV decodes them, one by one.

    A picture that cannot be read gives no result, and the check of the data reports a picture that is cut off.
    """
    cv2 = sys.modules.get('cv2')
    for name in ('imread', 'imdecode') if cv2 is not None else ():
        decode = getattr(cv2, name)
        if not hasattr(decode, '__wrapped__'):
            setattr(cv2, name, _quietly(decode))


def _quietly(decode: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(decode)
    def decode_quietly(*args: Any, **options: Any) -> Any:
        # threads would take each other's standard error
        if threading.current_thread() is not threading.main_thread():
            return decode(*args, **options)
        try:
            own = os.dup(2)
        except OSError:
            return decode(*args, **options)
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            return decode(*args, **options)
        finally:
            os.dup2(own, 2)
            os.close(own)
            os.close(nothing)

    return decode_quietly


def _silence_coco() -> None:
    """Stop the COCO library, where it was imported, from printing its stages and tables; mmdet logs the figures."""
    for name in CHATTY:
        module = sys.modules.get(name)
        if module is not None:
            vars(module)['print'] = lambda *_, **__: None


class ScreenFilter(logging.Filter):
    """Keeps the stack's own lines from the screen, except errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or not _of_stack(sys._getframe(1))


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
