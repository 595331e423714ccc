from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saga_mm.tasks import writer as writing


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
    monkeypatch.setattr(writing, 'segment_strips', lambda *args: iter((labels[:7], labels[7:])))
    writers = [
        writing.SegmentationWriter(predictor, tmp_path / name, tmp_path, [picture], own_size=name == 'strips')
        for name in ('whole', 'strips')
    ]
    entries = [writer.write(picture) for writer in writers]
    maps = [Image.open(writer.out / entry['map']) for writer, entry in zip(writers, entries)]
    assert all(np.array_equal(np.asarray(found), labels) for found in maps)
    assert maps[0].mode == maps[1].mode == ('P' if count <= 256 else 'I;16')
    assert entries[0] == entries[1]


def test_a_prediction_without_objects_says_how_far_it_was_from_them():
    writer = object.__new__(writing.DetectionWriter)
    writer.score_thr, writer.highest = 0.3, 0.1237
    entries = [{'predictions': []}] * 2
    words = '0 objects in 2 pictures, as none scores 0.3 (--score-thr); the highest score is 0.124; drawn pictures'
    assert writer.summary(entries) == words
    assert writer.summary([{'predictions': [1, 2]}]) == '2 objects in 1 picture; drawn pictures'
