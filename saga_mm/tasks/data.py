"""The base class of a task's data: use a user's own, check it, report on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saga_mm.datasets.checks.survey import Survey
from saga_mm.datasets.checks.survey_report import plot_histogram, plot_overlays, survey_text

if TYPE_CHECKING:
    from mmengine.config import Config

    from saga_mm.tasks.own_data import OwnData


class DataReport(NamedTuple):
    """The result of checking a data set.

    Attributes:
        text: What there is.
        warnings: What one should know, in lines.
        problems: What stops a training or spoils it, in lines.
        draw: Draws at most a number of pictures into a folder, and returns their files.
        pictures: Paths of the pictures.
    """

    text: str
    warnings: list[str]
    problems: list[str]
    draw: Callable[[Path, int], list[Path]]
    pictures: Sequence[str] = ()

    @classmethod
    def of(cls, survey: Survey, pictures: Sequence[str] = ()) -> DataReport:
        """Counts of classes, a histogram of them, and images with what is marked on them."""

        def draw(folder: Path, most: int) -> list[Path]:
            drawn = plot_overlays(survey, folder / 'overlays.png', most)
            return [plot_histogram(survey, folder / 'histogram.png'), *drawn]

        return cls(survey_text(survey), survey.warnings.lines(), survey.problems.lines(), draw, pictures)


class TaskData:
    """The data sets of a task's configs.

    Attributes:
        library: The library whose registry has the data sets.
        heads: Names of the parts of a model whose ``num_classes`` is that of the data.
        compared: Those of them that every model has right, to be compared with the data before a run.
    """

    library: str
    heads: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Mend faults of the library in this process."""

    def use_own(self, cfg: Config, own: OwnData, training: bool) -> None:
        """Point a config at a user's own data: data sets, classes, heads, evaluators."""
        raise NotImplementedError

    def check(self, dataset: dict[str, Any], need_annotations: bool) -> set[str]:
        """Check the files of a data set's config before anything runs; print warnings.

        Returns:
            Paths of the pictures, where they are known.

        Raises:
            SagaError: Something is wrong with them.
        """
        raise NotImplementedError

    def report(self, dataset: dict[str, Any], split: str) -> DataReport | None:
        """Survey a data set without wrappers; None if it is of another kind, or on remote storage.

        Raises:
            SagaError: It cannot be looked at.
        """
        raise NotImplementedError

    def class_of(self, dataset: dict[str, Any]) -> Any:
        """What the ``type`` of a data set's config names; None if there is no such thing."""
        # a name without a scope is one of the library's
        kind = dataset['type']
        return import_module(f'{self.library}.registry').DATASETS.get(kind) if isinstance(kind, str) else kind

    def goes_by_names(self, dataset: dict[str, Any]) -> bool:
        """Whether files of a data set name their classes, so that the config may number them."""
        return False

    def leaves_out_others(self, dataset: dict[str, Any]) -> bool:
        """Whether a data set leaves out objects of classes that its config does not name."""
        return False

    def metainfo_of(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """Classes and colours in the config of a data set without wrappers, else those of its type."""
        return {**getattr(self.class_of(dataset), 'METAINFO', {}), **(dataset.get('metainfo') or {})}
