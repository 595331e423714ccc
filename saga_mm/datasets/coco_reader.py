"""Read COCO files in any Unicode encoding, and evaluate them whatever the ids of annotations are."""

from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import coco_metric

from saga_mm.text_files import read_json

KEPT = ('id', 'name', 'supercategory')


class CocoFile(COCO):
    """mmdet's COCO file with annotations that are numbered from 1; those that do not say so are no crowd.

    pycocotools takes the id 0 for "no match", and mmdet wants ids that differ. Nothing else uses the ids of
    annotations, so that they may be anything, or absent.

    Args:
        annotation_file: The file; None for an empty one.
    """

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        if annotation_file is not None:
            self.dataset = numbered(read_json(Path(annotation_file)))
            self.createIndex()
            self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


def numbered(data: dict[str, Any]) -> dict[str, Any]:
    """The lists of a COCO file with annotations numbered from 1, without what mmdet does not read."""
    annotations = [
        {**record, 'id': index, 'iscrowd': record.get('iscrowd') or 0}
        for index, record in enumerate(data.get('annotations') or (), 1)
    ]
    categories = [{key: record[key] for key in KEPT if key in record} for record in data['categories']]
    return {'images': data['images'], 'annotations': annotations, 'categories': categories}


def use_coco_file() -> None:
    """Have mmdet's data sets and metrics read COCO files by :class:`CocoFile`, in the whole process."""
    CocoDataset.COCOAPI = CocoFile
    coco_metric.COCO = CocoFile
