"""What the page of ``saga-mm demo`` answers, without a browser and without gradio."""

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.models.enhancement.finish import Finish
from saga_mm.models.enhancement.weight_files import load_weights
from saga_mm.pages import answers
from saga_mm.pages.answers import Models
from saga_mm.pages.app import open_page
from saga_mm.pages.uploads import dark_samples, reduced, shape_samples
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer


def save_dark(path: Path, height: int = 45, width: int = 67, **options) -> Path:
    pixels = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_header(path: Path, width: int, height: int) -> Path:
    """A PNG file whose pixels are cut off."""
    content = b'\x89PNG\r\n\x1a\n'
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    for chunk in (head, b'IDAT' + zlib.compress(bytes(100))):
        content += struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk))
    path.write_bytes(content)
    return path


def nothing(share: float, what: str) -> None:
    pass


def test_the_file_is_what_the_enhancer_writes_at_full_size_and_what_is_seen_is_both(tmp_path):
    source = save_dark(tmp_path / 'dark.png')
    told = []
    pair, file = answers.enhance(str(source), 'tiny', Finish(0.7), tmp_path, None, lambda *step: told.append(step))
    expected = LowLightInferencer('tiny').save(source, tmp_path / 'expected.png', strength=0.7)
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(expected)))
    assert Path(file).name == 'dark_enhanced.png' and Path(file).parent != source.parent
    assert np.array_equal(pair[0], np.asarray(Image.open(source)))
    assert np.array_equal(pair[1], np.asarray(Image.open(expected)))
    assert told[-1][0] == 1 and [share for share, _ in told] == sorted(share for share, _ in told)


def test_two_visitors_with_files_of_one_name_get_their_own(tmp_path):
    source = save_dark(tmp_path / 'dark.png')
    files = {answers.enhance(str(source), 'tiny', Finish(), tmp_path, None, nothing)[1] for _ in range(2)}
    assert len(files) == 2


def test_a_turned_photograph_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = save_dark(tmp_path / 'turned.jpg', exif=exif)
    pair, _ = answers.enhance(str(source), 'tiny', Finish(), tmp_path, None, nothing)
    assert pair[0].shape == pair[1].shape == (67, 45, 3)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda folder: (folder / 'a.png').write_text('no picture'), 'a.png: '),
        (lambda folder: (folder / 'a.png').write_bytes(b''), 'a.png: is empty'),
        (lambda folder: write_header(folder / 'a.png', 100000, 100000), 'a.png: has 100000 x 100000 pixels'),
        (lambda folder: write_header(folder / 'a.png', 64, 64), 'a.png: '),
    ],
    ids=['words', 'empty', 'huge', 'cut'],
)
def test_what_is_no_picture_or_too_large_is_told_without_the_folders_of_the_server(tmp_path, make, message):
    make(tmp_path)
    path = str(tmp_path / 'a.png')
    for answer in (
        lambda: answers.enhance(path, 'tiny', Finish(), tmp_path, None, nothing),
        lambda: answers.look_inside(path, 'tiny', 'product', Models()),
    ):
        with pytest.raises(SagaError) as error:
            answer()
        assert message in str(error.value) and str(tmp_path) not in str(error.value)


def test_nothing_chosen_and_unknown_weights_are_told(tmp_path):
    source = str(save_dark(tmp_path / 'dark.png'))
    for given, message in (
        ((None, 'tiny', Finish()), 'Choose a picture'),
        ((source, '../tiny', Finish()), 'weights'),
    ):
        with pytest.raises(SagaError, match=message):
            answers.enhance(*given, tmp_path, None, nothing)


def test_gates_and_ranks_of_the_enhancer_are_shown_by_layer(tmp_path):
    drawn, rows, note = answers.look_inside(str(save_dark(tmp_path / 'dark.png')), 'tiny', 'key', Models())
    mixers = [name for name, module in load_weights('tiny').named_modules() if name.endswith('.attn')]
    assert len(drawn) == len(rows) == len(mixers) == 5
    assert [row[0] for row in rows] == ['encoder 2.1', 'encoder 3.1', 'encoder 3.2', 'encoder 3.3', 'decoder 1.1']
    for row, (picture, caption) in zip(rows, drawn):
        key, value, product = map(float, row[1:4])
        assert 0 < product <= min(key, value) + 1e-3 and max(key, value) < 1
        rank, size = map(float, row[4].split(' of '))
        assert 1 <= rank <= size == 32
        name, _, mean = caption.partition(': ')
        assert picture.shape == (45, 67, 3) and name == row[0] and abs(float(mean) - key) < 0.0056
    assert 'tiny' in note


def test_a_backbone_by_name_says_that_its_weights_are_random(tmp_path):
    source = str(save_dark(tmp_path / 'dark.png'))
    drawn, rows, note = answers.look_inside(source, 'saga_pvt_tiny', 'product', Models(look=('saga_pvt_tiny',)))
    assert len(drawn) == len(rows) == 8 and rows[0][0] == 'stage 1.1'
    assert 'random' in note
    with pytest.raises(SagaError, match='no such model'):
        answers.look_inside(source, 'saga_pvt_tiny', 'product', Models())


def test_objects_are_drawn_and_listed_from_the_lowest_score_on(tmp_path, checkpoints):
    path = str(save_dark(tmp_path / 'dark.png', 96, 128))
    (picture, marks), colours, rows = answers.detect(path, checkpoints['tiny'], 0.0, 'cpu')
    assert picture.shape == (96, 128, 3)
    assert 0 < len(marks) == len(rows) <= 10
    scores = [score for _, score, _ in rows]
    assert scores == sorted(scores, reverse=True)
    for (cover, label), (name, score, box) in zip(marks, rows):
        assert cover.shape == (96, 128) and label == f'{name} {score:.2f}' and label in colours
        left, top, right, bottom = map(int, box.split())
        rows_covered, columns_covered = np.where(cover == 1)
        assert abs(rows_covered.min() - top) <= 2 and abs(rows_covered.max() - bottom) <= 3
        assert abs(columns_covered.min() - left) <= 2 and abs(columns_covered.max() - right) <= 3
    assert len(set(colours.values())) == len({name for name, *_ in rows})
    threshold = (scores[0] + scores[-1]) / 2
    kept = answers.detect(path, checkpoints['tiny'], threshold, 'cpu')[2]
    # what is listed is rounded
    assert rows[: len(kept)] == kept and kept[-1][1] >= threshold - 0.005 >= rows[len(kept)][1] - 0.01
    assert answers.detect(path, checkpoints['tiny'], 1.1, 'cpu')[2] == []


def test_classes_cover_the_picture_and_their_shares_make_all_of_it(tmp_path, checkpoints):
    path = str(save_dark(tmp_path / 'dark.png', 96, 128))
    (picture, marks), colours, rows = answers.segment(path, checkpoints['tiny_segmentation'], 'cpu')
    assert picture.shape == (96, 128, 3)
    assert np.allclose(sum(cover for cover, _ in marks), answers.COVER)
    assert [name for _, name in marks] == [name for name, _ in rows] == list(colours)
    assert sum(float(share.split()[0]) for _, share in rows) == pytest.approx(100, abs=0.1 * len(rows))


def test_what_is_shown_fits_a_screen():
    assert reduced(np.zeros((300, 9000, 3), np.uint8)).shape == (68, 2048, 3)
    assert reduced(np.zeros((30, 90, 3), np.uint8)).shape == (30, 90, 3)


def test_samples_are_pictures(tmp_path):
    dark, *shapes = [cv2.imread(path) for path in dark_samples(tmp_path) + shape_samples(tmp_path)]
    assert dark.mean() < 80 and len(shapes) == 2
    assert not np.array_equal(*shapes)


@pytest.mark.parametrize(
    ('offered', 'said'),
    [
        (Models(detect=('saga_maskrcnn.py', 'gone')), 'checkpoint gone: no such file or work folder'),
        (Models(segment=('gone.py', 'gone')), 'config gone.py: no such file'),
        (Models(look=('saga_pvt_tyni',)), 'did you mean saga_pvt_tiny'),
        (Models(look=('saga_pvt_v2_b0', 'gone.pth')), r'checkpoint gone\.pth: no such file'),
    ],
)
def test_what_a_page_cannot_offer_is_told_before_it_opens(offered, said):
    with pytest.raises(SagaError, match=said):
        offered.check()
    Models(look=('saga_pvt_v2_b0',)).check()


def test_without_gradio_the_cure_is_one_line(monkeypatch):
    for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'):
        monkeypatch.setenv(name, '')
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(SagaError, match=r"needs gradio: pip install 'saga-mm\[page\]'$"):
        open_page(Models(), browser=False)
