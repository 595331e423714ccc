"""Top-k accuracy of classification."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from saga_mm.files import write_file
from saga_mm.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of pictures whose class is among the most probable ones, in percent: ``'top1'``, ``'top5'``.

    Args:
        topk: How many of the most probable classes count. More than there are classes are left out.
        out_file: Where what was found in each picture goes, a ``.csv`` file; nowhere unless given.
        collect_device: As in mmengine.
        prefix: As in mmengine.
        collect_dir: As in mmengine.

    Raises:
        ValueError: If ``topk`` names none, or less than one.
    """

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        out_file: str | Path | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        if not topk or min(topk) < 1:
            raise ValueError(f'topk={tuple(topk)} must name numbers of classes, from 1 on')
        self.topk, self.out_file = tuple(topk), out_file

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note where the right class stands in the order of the scores."""
        for sample in data_samples:
            scores, label = sample['pred_score'], int(sample['gt_label'])
            # a class of the same score counts against the right one, so that equal scores are no hits
            place = int((scores >= scores[label]).sum()) - 1
            best = int(torch.argmax(scores))
            self.results.append((sample.get('img_path', ''), label, best, float(scores[best]), place, len(scores)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        classes = results[0][-1]
        places = torch.tensor([place for *_, place, _ in results])
        if self.out_file is not None:
            self._write(results)
        return {f'top{k}': 100 * (places < k).double().mean().item() for k in self.topk if k <= classes}

    def _write(self, results: list) -> None:
        names = (self.dataset_meta or {}).get('classes') or range(results[0][-1])
        text = io.StringIO()
        rows = csv.writer(text, lineterminator='\n')
        rows.writerow(('file', 'class', 'predicted', 'score', 'place'))
        for file, label, best, score, place, _ in results:
            rows.writerow((file, names[label], names[best], round(score, 4), place + 1))
        write_file(self.out_file, text.getvalue())
