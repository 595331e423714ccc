from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.tasks.prediction import Pictures
from saga_mm.tasks.segmentation import prediction
from saga_mm.tasks.segmentation.segmenter import Segmenter


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


def test_an_exported_segmentor_takes_no_memory_that_it_would_not_keep_to():
    with pytest.raises(SagaError, match='max_memory=4GB: an exported segmentor does a picture in one piece'):
        Segmenter('model.onnx', max_memory='4GB')


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """A writer in strips of 7 rows, whose labels are those of a pattern."""
    labels = (np.add.outer(np.arange(61), np.arange(47)) // 5 % 3).astype(np.uint8)
    metainfo = {'classes': ('a', 'b', 'c'), 'palette': [(250, 0, 0), (0, 250, 0), (0, 0, 250)]}
    allowed = SimpleNamespace(is_given=True, allowed=2**40)
    predictor = SimpleNamespace(model=None, budget=allowed, keeps_size=True, classes=('a', 'b', 'c'), metainfo=metainfo)
    predictor.is_large = lambda *size: True
    held = []

    def strips(model, rows, budget, folder, held_bytes):
        held.append(held_bytes)
        for start in range(0, 61, 7):
            yield labels[start : start + 7]

    monkeypatch.setattr(prediction, 'segment_strips', strips)
    made = prediction.SegmentationWriter(predictor, Pictures([], tmp_path, tmp_path / 'out'), False)
    made.labels, made.held = labels, held
    return made


def save(path, turned: bool = False) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3 if turned else 1
    Image.fromarray(pixels[::-1, ::-1] if turned else pixels).save(path, exif=exif)
    return pixels


@pytest.mark.parametrize('longest', [2048, 61, 30, 20, 7])
def test_what_is_drawn_in_strips_is_every_nth_pixel_of_the_whole(tmp_path, writer, longest):
    pixels, step = save(tmp_path / 'a.png'), -(-61 // longest)
    writer.largest_drawn = longest
    entry = writer.write(tmp_path / 'a.png')
    metainfo = writer.predictor.metainfo
    whole = tmp_path / 'whole.jpg'
    prediction.draw_maps(np.ascontiguousarray(pixels[::step, ::step]), [writer.labels[::step, ::step]], metainfo, whole)
    drawn = np.asarray(Image.open(writer.out / entry['drawn']))
    assert np.array_equal(drawn, np.asarray(Image.open(whole)))
    assert writer.held[0] >= 10 * (61 // step) * (47 // step)


def test_a_picture_that_is_decoded_whole_is_decoded_once(tmp_path, monkeypatch, writer):
    save(tmp_path / 'a.png', turned=True)
    opened, open_rows = [], prediction.open_rows
    monkeypatch.setattr(prediction, 'open_rows', lambda path: opened.append(path) or open_rows(path))
    writer.write(tmp_path / 'a.png')
    assert len(opened) == 1
    save(tmp_path / 'b.png')
    writer.write(tmp_path / 'b.png')
    assert len(opened) == 3 and writer.held[1] > writer.held[0]


def test_a_picture_that_the_config_resizes_is_held_against_the_limit(tmp_path, writer):
    save(tmp_path / 'a.png')
    writer.predictor.keeps_size = False
    writer.predictor.budget.allowed = 1000
    with pytest.raises(SagaError, match=r'a\.png: is done in one piece.*--own-size does it in strips'):
        writer.write(tmp_path / 'a.png')
