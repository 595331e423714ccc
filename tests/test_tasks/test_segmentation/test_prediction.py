from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saga_mm.tasks.prediction import Pictures
from saga_mm.tasks.segmentation import prediction


@pytest.mark.parametrize('count', [19, 300])
def test_in_strips_the_map_of_any_number_of_classes_is_that_of_the_whole(tmp_path, monkeypatch, count):
    rng = np.random.default_rng(0)
    picture = tmp_path / 'a.png'
    Image.fromarray(rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(picture)
    labels = rng.integers(0, count, (40, 30)).astype(np.uint8 if count <= 256 else np.uint16)
    labels[0, 0] = count - 1
    classes = tuple(f'class {index}' for index in range(count))
    metainfo = {'classes': classes, 'palette': rng.integers(0, 256, (count, 3)).tolist()}

    class Predictor(SimpleNamespace):
        def __call__(self, image: np.ndarray) -> np.ndarray:
            return labels

    predictor = Predictor(model=None, budget=None, keeps_size=False, classes=classes, metainfo=metainfo)
    monkeypatch.setattr(prediction, 'segment_strips', lambda *args: iter((labels[:7], labels[7:])))
    writers = [
        prediction.SegmentationWriter(predictor, Pictures([picture], tmp_path, tmp_path / name), name == 'strips')
        for name in ('whole', 'strips')
    ]
    entries = [writer.write(picture) for writer in writers]
    maps = [Image.open(writer.out / entry['map']) for writer, entry in zip(writers, entries)]
    assert all(np.array_equal(np.asarray(found), labels) for found in maps)
    assert maps[0].mode == maps[1].mode == ('P' if count <= 256 else 'I;16')
    assert entries[0] == entries[1]
