"""The base classes of a task's predictions: predict, write, and list results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saga_mm.display.drawing import OutputNames
from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from saga_mm.loading.trained import Trained
    from saga_mm.parallel import Mesh
    from saga_mm.tasks.predictor import Place, Predictor


class Pictures(NamedTuple):
    """A user's pictures, and where what is found of them goes.

    Attributes:
        files: The pictures.
        root: Folder that their names are taken relative to.
        out: Folder for the results.
    """

    files: list[Path]
    root: Path
    out: Path

    def names(self, folder: str = '', suffix: str = '.jpg') -> OutputNames:
        """Names of results in a folder below ``out``."""
        return OutputNames(self.out / folder, self.root, suffix=suffix, inputs=self.files)


class Writer:
    """Predicts pictures and writes what was found into a folder.

    Args:
        predictor: The model.
        pictures: All pictures.
    """

    def __init__(self, predictor: Predictor, pictures: Pictures) -> None:
        self.predictor = predictor
        self.out = pictures.out
        self.drawn = pictures.names()

    def head(self) -> dict[str, Any]:
        """What is the same for all pictures."""
        return {'classes': list(self.predictor.classes)}

    def write(self, picture: Path) -> dict[str, Any]:
        """Predict one picture, write the results and return its entry in the list."""
        raise NotImplementedError

    def share(self, mesh: Mesh) -> None:
        """Write pictures together with other processes, each of which does a band of rows.

        Raises:
            SagaError: The task has no such thing.
        """
        raise SagaError(
            'one picture is divided over processes for segmentation alone; start one process, or name a folder'
        )

    def summary(self, done: list[dict[str, Any]]) -> str:
        """What was done, for the screen."""
        raise NotImplementedError


class Prediction:
    """Predictions as a command line wants them. A class takes what ``predict`` has for its task, and checks it."""

    def writer(self, model: Trained, place: Place, pictures: Pictures) -> Writer:
        """Load the model; what it finds in pictures is written by what is returned.

        Raises:
            SagaError: Config, checkpoint or device are not in order, or do not fit each other.
        """
        raise NotImplementedError
