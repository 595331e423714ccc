"""Read COCO files in any Unicode encoding, whatever the ids of annotations and the order of categories are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO, COCOeval, COCOevalMP
from mmdet.evaluation.metrics import coco_metric

from saga_mm.text_files import read_json

KEPT = ('id', 'name', 'supercategory')


class CocoFile(COCO):
    """mmdet's COCO file with annotations that are numbered from 1; those that do not say so are no crowd.

    pycocotools takes the id 0 for "no match", and mmdet wants ids that differ. Nothing else uses the ids of
    annotations, so that they may be anything, or absent.

    Labels follow the classes that a config names. mmdet numbers them in the order of the file, under the names of the
    config: two files that list their categories in other orders would give one label to two classes.

    Args:
        annotation_file: The file; None for an empty one.
    """

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        if annotation_file is not None:
            self.dataset = numbered(read_json(Path(annotation_file)))
            self.createIndex()
            self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(
        self, cat_names: Sequence[str] = (), sup_names: Sequence[str] = (), cat_ids: Sequence[int] = ()
    ) -> list[int]:
        """Ids of categories; those of ``cat_names`` in that order, with new ids for names that the file lacks."""
        if sup_names or cat_ids or not cat_names:
            return self.getCatIds(cat_names, sup_names, cat_ids)
        known = {category['name']: number for number, category in self.cats.items()}
        for name in cat_names:
            if name not in known:
                # an id of no annotation: the class keeps its place among the labels, and no object
                known[name] = max(self.cats, default=0) + 1
                self.cats[known[name]] = {'id': known[name], 'name': name}
        return [known[name] for name in cat_names]


class _Ordered:
    """Figures of classes in the order of ``params.catIds``: pycocotools sorts it, and mmdet names figures by place."""

    def evaluate(self) -> None:
        self._asked = list(self.params.catIds)
        super().evaluate()

    def accumulate(self, p: Any = None) -> None:
        super().accumulate(p)
        if self.params.useCats:
            places = {number: place for place, number in enumerate(self.params.catIds)}
            order = [places[number] for number in self._asked]
            for name, axis in (('precision', 2), ('scores', 2), ('recall', 1)):
                self.eval[name] = np.take(self.eval[name], order, axis=axis)


class OrderedEval(_Ordered, COCOeval):
    """As COCOeval."""


class OrderedEvalMP(_Ordered, COCOevalMP):
    """As COCOevalMP, which evaluates in several processes."""


def numbered(data: dict[str, Any]) -> dict[str, Any]:
    """The lists of a COCO file with annotations numbered from 1, without what mmdet does not read."""
    annotations = [
        {**record, 'id': index, 'iscrowd': record.get('iscrowd') or 0}
        for index, record in enumerate(data.get('annotations') or (), 1)
    ]
    categories = [{key: record[key] for key in KEPT if key in record} for record in data['categories']]
    return {'images': data['images'], 'annotations': annotations, 'categories': categories}


def use_coco_file() -> None:
    """Make mmdet's data sets and metrics use :class:`CocoFile` in the whole process."""
    CocoDataset.COCOAPI = CocoFile
    coco_metric.COCO = CocoFile
    coco_metric.COCOeval, coco_metric.COCOevalMP = OrderedEval, OrderedEvalMP
