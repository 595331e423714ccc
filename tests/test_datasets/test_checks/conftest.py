"""A data set for semantic segmentation, to be spoilt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.segmentation import check_segmentation, check_segmentation_cfg
from saga_mm.datasets.checks.survey import Survey
from saga_mm.errors import SagaError

CLASSES = ('road', 'tree', 'sky')
COLOURS = [(0, 0, 0), (0, 255, 0), (0, 0, 255)]
HEIGHT, WIDTH = 12, 20


class Data:
    """A data set to spoil: three images of 20 x 12 pixels, and masks with a block of each class and one of 255."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks = root / 'images', root / 'masks'
        self.images.mkdir()
        self.masks.mkdir()
        self.ids = np.repeat(np.array([0, 1, 2, 255], np.uint8), WIDTH // 4)[None].repeat(HEIGHT, 0)
        self.picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        for name in 'abc':
            self.put_image(name, self.picture)
            self.put_mask(name, self.ids)

    def put_image(self, name: str, picture: np.ndarray | Image.Image, **kwargs: object) -> Path:
        path = self.images / f'{name}.jpg'
        as_image(picture).save(path, **kwargs)
        return path

    def put_mask(self, name: str, ids: np.ndarray | Image.Image, **kwargs: object) -> Path:
        path = self.masks / f'{name}.png'
        as_image(ids).save(path, **kwargs)
        return path

    def check(self, **kwargs: object) -> Survey:
        return check_segmentation(self.images, self.masks, CLASSES, **kwargs)

    def refuse(self, message: str, **kwargs: object) -> str:
        with pytest.raises(SagaError, match=message) as caught:
            self.check(**kwargs)
        assert str(self.images) in str(caught.value)
        return str(caught.value)

    def warn(self, message: str, **kwargs: object) -> None:
        assert message in '\n'.join(self.check(**kwargs).warnings.lines())

    def cfg(self, **changes: object) -> dict:
        return {
            'type': 'BaseSegDataset',
            'data_root': str(self.images.parent),
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
            'metainfo': {'classes': CLASSES, 'palette': COLOURS},
            'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}],
            **changes,
        }

    def check_cfg(self, **changes: object) -> Survey | None:
        return check_segmentation_cfg(self.cfg(**changes))


def as_image(values: np.ndarray | Image.Image) -> Image.Image:
    return values if isinstance(values, Image.Image) else Image.fromarray(values)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)
