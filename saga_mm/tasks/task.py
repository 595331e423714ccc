"""What a config is for, and all that differs between the tasks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from saga_mm.rows import MemoryBudget
    from saga_mm.tasks.own_data import OwnData
    from saga_mm.tasks.predictor import Predictor
    from saga_mm.tasks.writer import Writer


class Task:
    """What a model is for; everything else in the engine is the same for all tasks.

    Attributes:
        name: What it is called.
        package: The library whose models do it, which is the config's ``default_scope``.
        heads: Names of the parts of a model whose ``num_classes`` is that of the data.
        compared: Those of them that every model has right, to be compared with the data before a run.
        sees_whole: Why its pictures are run in one piece.
    """

    name: str
    package: str
    heads: tuple[str, ...]
    compared: tuple[str, ...]
    sees_whole: str

    def prepare_stack(self) -> None:
        """Change in the library, for this process, what is wrong in it."""

    def use_own_data(self, cfg: Config, own: OwnData, training: bool) -> None:
        """Point a config at one's own data: data sets, classes, heads, evaluators."""
        raise NotImplementedError

    def check_files(self, dataset: dict[str, Any], need_annotations: bool) -> None:
        """Look at the files of a data set's config before anything runs."""
        raise NotImplementedError

    def class_of(self, dataset: dict[str, Any]) -> Any:
        """What the ``type`` of a data set's config names; None if there is no such thing."""
        kind = dataset['type']
        return importlib.import_module(f'{self.package}.registry').DATASETS.get(kind) if isinstance(kind, str) else kind

    def metainfo_of(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """Classes and colours in the config of a data set without wrappers, else those of its type."""
        return {**getattr(self.class_of(dataset), 'METAINFO', {}), **(dataset.get('metainfo') or {})}

    def threshold(self, score_thr: float | None) -> float | None:
        """The lowest score to show, from what the command line gave."""
        raise NotImplementedError

    def memory(self, max_memory: str | None) -> int | None:
        """Bytes that the program may take, from what the command line gave; None for half of what is free."""
        if max_memory is not None:
            raise SagaError(f'--max-memory: for segmentation, which runs in strips; {self.sees_whole}')

    def check_predicts(self) -> None:
        """Refuse a task that ``tools/predict.py`` does not do."""

    def set_up_test(self, cfg: Config, out: Path | None) -> None:
        """Set a config's evaluators: figures as the tools print them, results written at ``out``."""
        raise NotImplementedError

    def results(self, out: Path) -> list[str]:
        """Names of what a test wrote beside ``out``."""
        raise NotImplementedError

    def image_of(self, sample: Any, inputs: Any) -> Any:
        """The ``(H, W, 3)`` RGB image that a test's data sample is of; ``inputs`` is what was packed for the model."""
        from saga_mm.display.drawing import read_rgb

        return read_rgb(sample.img_path)

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path, score_thr: float | None) -> None:
        """Draw what a test found on an ``(H, W, 3)`` RGB image beside the ground truth."""
        raise NotImplementedError

    def lighten(self, model: nn.Module, budget: MemoryBudget | None = None) -> None:
        """Have a model predict in less memory, if there is a way: within a budget, or half of what is free."""

    def usage(self, config: str, checkpoint: str) -> str:
        """The command that uses a checkpoint on one's own pictures."""
        return f'python tools/predict.py {config} {checkpoint} FOLDER'

    def predictor(self, *args: Any, memory: int | None = None, **engine: str) -> Predictor:
        """A trained model for use on arrays; the arguments are those of :class:`~saga_mm.tasks.predictor.Predictor`.

        ``memory`` is what :meth:`memory` gave; ``engine`` is that of :func:`~saga_mm.engines.use_engine`.
        """
        raise NotImplementedError

    def writer(
        self, predictor: Predictor, out: Path, root: Path, pictures: list[Path], thr: float | None, own_size: bool
    ) -> Writer:
        """What writes predictions on pictures below ``root`` into the folder ``out``.

        With ``own_size``, pictures are predicted at their own size, whatever the config resizes them to.
        """
        raise NotImplementedError


def task_of(cfg: Config) -> Task:
    """The task of a config, by the library that its names are looked up in."""
    from saga_mm.tasks.detection.task import Detection
    from saga_mm.tasks.enhancement.task import Enhancement
    from saga_mm.tasks.segmentation.task import Segmentation

    special = {task.package: task for task in (Segmentation, Enhancement)}
    return special.get(cfg.get('default_scope'), Detection)()
