"""Predict on a user's pictures: drawings, and a list as JSON."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.console import one_line, say
from saga_mm.display.progress import progress_bar
from saga_mm.engines import explain
from saga_mm.errors import SagaError, shell_text
from saga_mm.files import user_path, write_file
from saga_mm.images.kind import count_pictures
from saga_mm.images.picture_folders import find_images, scan_folder
from saga_mm.loading.checkpoint import make_files_safe
from saga_mm.loading.config import load_config
from saga_mm.loading.quiet import silence_noise
from saga_mm.loading.stack import require_stack, require_stack_for
from saga_mm.loading.trained import Trained
from saga_mm.loading.work_dir import find_best
from saga_mm.onnx.file import SELF_CONTAINED, is_onnx, kind_of
from saga_mm.parallel import this_process
from saga_mm.runs.prepare import OF_TRAINING, OF_VALIDATION, tell_unused
from saga_mm.runs.together import file_facts, predict_one, predict_together
from saga_mm.tasks import start_exported, start_verb
from saga_mm.tasks.prediction import Pictures, Prediction, Writer
from saga_mm.tasks.predictor import Place
from saga_mm.version import __version__

if TYPE_CHECKING:
    from mmengine.config import Config

RESULTS = 'predictions.json'
SHOWN = 20
# endings of formats that hold one picture, which need not be opened twice
ONE_PICTURE = ('.jpg', '.jpeg', '.bmp')


@dataclass
class PredictOptions:
    """The command line of a prediction.

    Attributes:
        config: The config file, or an exported model, ``NAME.onnx``.
        checkpoint: The weights, or a work folder, of which the best are taken; None for an exported model.
        source: A picture, or a folder of them.
        out: Where the drawn pictures and ``predictions.json`` go.
        task_options: What only some tasks have, by name, such as ``score_thr``.
        device: Where to run.
        engine: As of :func:`saga_mm.engines.use_engine`.
        precision: As of :func:`saga_mm.engines.use_engine`.
        explain: Print at the end which engine ran each part, and why.
        cfg_options: Values of the config to change, by dotted key.
    """

    config: str
    checkpoint: str | None
    source: str
    out: str | None = None
    task_options: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    engine: str = 'auto'
    precision: str = 'f32'
    explain: bool = False
    cfg_options: dict[str, Any] | None = None


def predict(options: PredictOptions) -> dict[str, Any]:
    """Predict, draw and list. A picture that cannot be read does not stop the others.

    Returns:
        What ``predictions.json`` holds.

    Raises:
        SagaError: Something was wrong before the first picture; or, after all others are done, some could not be read.
    """
    make_files_safe()
    prediction, cfg = _start(options)
    silence_noise()
    checkpoint = None if options.checkpoint is None else find_best(options.checkpoint)
    source = user_path(options.source)
    out = user_path(options.out or Path('work_dirs', 'predict', source.resolve().stem))
    pictures = find_images(source, leave_out=out)
    left_out = _left_out(source, out)
    several = _in_part(pictures)
    root = source if source.is_dir() else source.parent
    _check_out(out, root)
    model = options.config if cfg is None else Trained(cfg, checkpoint)
    place = Place(options.device, options.engine, options.precision)
    writer = prediction.writer(model, place, Pictures(pictures, root, out))
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    results, process = _Results(options, checkpoint, writer, len(pictures)), this_process()
    if process.count > 1:
        facts = {'version': __version__, 'config': options.config if cfg is None else cfg.dump()}
        facts |= {'checkpoint': file_facts(checkpoint), 'options': repr(options.task_options)}
        entries = predict_together(writer, Pictures(pictures, root, out), source.is_dir(), facts, process)
        for entry in entries:
            (failed if 'reason' in entry else done).append(entry)
        if not process.is_first:
            return {}
        result = results.write(done, failed)
    else:
        try:
            for picture in progress_bar(pictures, len(pictures), 'predicting'):
                entry = predict_one(writer, picture, root)
                (failed if 'reason' in entry else done).append(entry)
                results.keep(done, failed)
        finally:
            result = results.write(done, failed)
    if options.explain and getattr(writer.predictor, 'model', None) is not None:
        say(str(explain(writer.predictor.model, budget=getattr(writer.predictor, 'budget', None))))
    if done:
        say(f'{writer.summary(done)} and {RESULTS} are in {out}')
    if several:
        listed = '\n  '.join(several[:SHOWN]) + ('\n  ...' if len(several) > SHOWN else '')
        say(f'done in part ({len(several)}):\n  {listed}')
    if left_out:
        listed = '\n  '.join(left_out)
        say(f'left out ({len(left_out)}):\n  {shell_text(SagaError(listed))}')
    if failed:
        listed = '\n  '.join(one_line(entry['reason']) for entry in failed)
        raise SagaError(f'{len(failed)} of {len(pictures)} pictures could not be done:\n  {listed}')
    return result


def _start(options: PredictOptions) -> tuple[Prediction, Config | None]:
    """What predicts, and the config, which an exported file takes the place of."""
    if is_onnx(options.config):
        if options.checkpoint is not None or options.cfg_options:
            raise SagaError(f'{options.config}: {SELF_CONTAINED}')
        return start_exported(options.config, kind_of(options.config), options.task_options), None
    if options.checkpoint is None:
        raise SagaError(f'config {options.config}: name its checkpoint as well, before the pictures')
    require_stack()
    cfg = load_config(options.config, options.cfg_options)
    require_stack_for(cfg)
    # pictures are prepared as those of the test, or else of the validation
    others = OF_VALIDATION if cfg.get('test_dataloader') else ()
    tell_unused(options.cfg_options, (*OF_TRAINING, *others, 'test_evaluator', 'test_cfg'))
    return start_verb(cfg, 'predict', options.task_options), cfg


def _in_part(pictures: list[Path]) -> list[str]:
    """A line for each animation and each file of several pages."""
    maybe = (path for path in pictures if path.suffix.lower() not in ONE_PICTURE)
    return [f'{path}: the first of {count} pictures' for path in maybe if (count := count_pictures(path)) > 1]


def _left_out(source: Path, out: Path) -> list[str]:
    """A line for each file of a folder that a user could have meant and that is not predicted."""
    if not source.is_dir():
        return []
    found = scan_folder(source, leave_out=out)
    return [*found.lines(), *(f'{path}: is a video; pictures alone are predicted' for path in found.videos)]


class _Results:
    """``predictions.json``: written anew while pictures are predicted, so that a run that is killed leaves its results.

    Until the end the file says under ``left`` how many pictures are still to be done.
    """

    def __init__(self, options: PredictOptions, checkpoint: Path | None, writer: Writer, count: int) -> None:
        self.run = {'config': options.config, 'checkpoint': None if checkpoint is None else str(checkpoint)}
        self.writer, self.count = writer, count
        self._written, self._cost = time.monotonic(), 0.0

    def keep(self, done: list[dict[str, Any]], failed: list[dict[str, str]]) -> None:
        """Write the results so far, unless that would take more than a twentieth of the time."""
        started = time.monotonic()
        if started - self._written < 20 * self._cost:
            return
        # what cannot be written now is written later, or reported at the end
        with suppress(SagaError):
            self.write(done, failed)
        self._written = time.monotonic()
        self._cost = self._written - started

    def write(self, done: list[dict[str, Any]], failed: list[dict[str, str]]) -> dict[str, Any]:
        """Write the file, and return what it holds."""
        left = self.count - len(done) - len(failed)
        head = {**self.run, **self.writer.head(), **({'left': left} if left else {})}
        result = {**head, 'failed': failed, 'images': done}
        # one line an image, for people and for diff
        rows = ',\n  '.join(json.dumps(image, ensure_ascii=False) for image in done)
        start = json.dumps({**result, 'images': []}, indent=1, ensure_ascii=False).removesuffix('[]\n}')
        write_file(self.writer.out / RESULTS, f'{start}[\n  {rows}\n ]\n}}\n')
        return result


def _check_out(out: Path, root: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SagaError(f'--out {out}: is a file, and a folder is needed')
    if out.resolve() == root.resolve():
        raise SagaError(f'--out {out}: is the folder of the pictures themselves; choose another')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SagaError(f'--out {out}: cannot be made ({error.strerror})') from error
