"""The base class of a task's export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.export.subject import ExportSubject

if TYPE_CHECKING:
    from mmengine.config import Config


class Export:
    """An export. A class takes what the command line of ``export`` has for its task, and checks it."""

    def subject(self, cfg: Config, checkpoint: Path) -> ExportSubject:
        """Load the model of a config and a checkpoint, and say what of it is exported.

        Raises:
            SagaError: Config or checkpoint are not in order or do not fit each other, or a part is not exported.
        """
        raise NotImplementedError
