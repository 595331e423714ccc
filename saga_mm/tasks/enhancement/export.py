"""Export of enhancers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.export.graphs import EnhancerGraph
from saga_mm.export.subject import ExportSubject, with_facts
from saga_mm.loading.checkpoint import load_state
from saga_mm.loading.weight_match import check_match
from saga_mm.models.enhancement.weight_files import build_enhancer, enhancer_config
from saga_mm.tasks.export import Export

if TYPE_CHECKING:
    from mmengine.config import Config

# of a training's checkpoint, what a model does not need to run
TRAINING = ('losses.', 'data_preprocessor.')


class EnhancementExport(Export):
    """An enhancer of pictures of any size.

    Args:
        strength: A constant in the file; None for an input.
    """

    def __init__(self, strength: float | None = None) -> None:
        self.strength = strength

    def subject(self, cfg: Config, checkpoint: Path) -> ExportSubject:
        config = enhancer_config(cfg.model)
        model = build_enhancer(config)
        state = {name: value for name, value in load_state(checkpoint).items() if not name.startswith(TRAINING)}
        check_match(model, state, checkpoint)
        model.load_state_dict(state)
        return with_facts(EnhancerGraph(model, self.strength), model=json.dumps(config), strength=self.strength)
