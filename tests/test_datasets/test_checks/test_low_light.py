import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.low_light import DECODED, PairSurvey, check_low_light_cfg, survey_low_light
from saga_mm.datasets.low_light.pairs import PairedLowLightDataset
from saga_mm.errors import SagaError

HEIGHT, WIDTH = 12, 20


class Data:
    """Pairs to spoil: three of 20 x 12 pixels, dark ones of 20 and bright ones of 120 on average."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in 'abc':
            self.put(f'low/{name}.png', 20)
            self.put(f'high/{name}.png', 120)

    def put(self, name: str, level: int, size: tuple[int, int] = (HEIGHT, WIDTH), **kwargs: object) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(level).integers(-8, 9, (*size, 3))
        Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(path, **kwargs)
        return path

    def check(self, decode: int = DECODED, **options: object) -> PairSurvey:
        cfg = {'type': PairedLowLightDataset, 'data_root': str(self.root), **options}
        return check_low_light_cfg(cfg, decode=decode)

    def refuse(self, message: str, **options: object) -> str:
        with pytest.raises(SagaError, match=message) as caught:
            self.check(**options)
        assert str(self.root) in str(caught.value)
        return str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


def test_what_is_there_is_told(data: Data):
    survey = data.check()
    assert survey.number == 3 and survey.unit == 'pairs' and survey.sizes == 3 * [(WIDTH, HEIGHT)]
    assert survey.dark == pytest.approx(20, abs=0.5) and survey.bright == pytest.approx(120, abs=0.5)
    assert not survey.problems and not survey.warnings
    expected = '3 pairs of 20 x 12 pixels, dark ones 20 of 255 on average, bright ones 120 of 255 on average.'
    assert str(survey) == f'{data.root}: {expected}'


def test_a_missing_partner(data: Data):
    (data.root / 'high/b.png').unlink()
    text = data.refuse(r'dark picture without a bright partner: .*low/b\.png\. Names must be the same')
    assert '\n' not in text
    data.put('high/b.png', 120)
    data.put('high/d.png', 120)
    assert str(data.check()).endswith(f'bright picture without a dark partner: {data.root}/high/d.png. It is not used.')


def test_sizes_that_differ(data: Data):
    data.put('high/b.png', 120, (HEIGHT, WIDTH + 1))
    data.refuse(r'pair of two sizes: .*low/b\.png \(20 x 12, the other 21 x 12\)\. Make both of the same')
    data.put('high/b.png', 120, (WIDTH, HEIGHT))
    data.refuse(r'\(20 x 12, the other 12 x 20\)')


def test_sizes_are_those_after_turning(data: Data):
    exif = Image.Exif()
    exif[0x0112] = 6
    (data.root / 'high/b.png').unlink()
    data.put('high/b.jpg', 120, (WIDTH, HEIGHT), exif=exif)
    assert not data.check().problems
    (data.root / 'low/b.png').unlink()
    data.put('low/b.jpg', 20, (WIDTH, HEIGHT))
    data.refuse(r'low/b\.jpg \(12 x 20, the other 20 x 12\)')


@pytest.mark.parametrize('content', [b'', b'no picture', None])
@pytest.mark.parametrize('decode', [500, 0])
def test_unreadable_files(data: Data, content: bytes | None, decode: int):
    path = data.root / 'low/b.png'
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    text = data.refuse(r'unreadable picture: .*low/b\.png \(.+\)\. Get the files again', decode=decode)
    assert '\n' not in text


def test_a_jpeg_that_is_cut_off(data: Data):
    for side in ('low', 'high'):
        (data.root / side / 'b.png').unlink()
        path = data.put(f'{side}/b.jpg', 60)
    path.write_bytes(path.read_bytes()[:-30])
    data.refuse(r'unreadable picture: .*high/b\.jpg \(cut off')


def test_a_picture_that_cannot_be_loaded_though_it_is_whole(data: Data):
    (data.root / 'low/b.png').unlink()
    cv2.imwrite(str(data.root / 'low/b.tif'), np.ones((HEIGHT, WIDTH, 3), np.float32))
    data.refuse(r'unreadable picture: .*low/b\.tif \(.*Save it with 8 or 16 bits')


@pytest.mark.parametrize('channels', [1, 3])
def test_deep_pictures_are_fine(data: Data, channels: int):
    for side, level in (('low', 20), ('high', 120)):
        (data.root / side / 'b.png').unlink()
        cv2.imwrite(str(data.root / side / 'b.tiff'), np.full((HEIGHT, WIDTH, channels), level * 257, np.uint16))
    survey = data.check()
    assert not survey.warnings and survey.dark == pytest.approx(20, abs=0.5)


def test_a_dark_side_that_is_brighter_is_a_warning(data: Data):
    data.put('low/b.png', 130)
    lines = data.check().warnings.lines()
    assert len(lines) == 1
    assert lines[0].startswith(f'dark picture brighter than its bright one: {data.root}/low/b.png (130, the other 120)')
    swapped = data.check(low='high', high='low').warnings.lines()[0]
    assert '(2 times)' in swapped and 'exchange low and high' in swapped


def test_all_that_is_wrong_is_said_at_once(data: Data):
    (data.root / 'high/a.png').unlink()
    (data.root / 'low/b.png').write_bytes(b'')
    data.put('high/c.png', 120, (5, 5))
    text = data.refuse('partner')
    assert [line.startswith('- ') for line in text.split('\n')] == [False, True, True, True]


def test_of_many_pairs_some_are_decoded(data: Data):
    survey = data.check(decode=1)
    assert survey.number == 3 and len(survey.sizes) == 3
    data.put('low/b.png', 130)
    assert not data.check(decode=2).warnings, 'the ends alone'
    assert data.check(decode=3).warnings
    assert data.check(decode=0).dark is None


@pytest.mark.parametrize('side', ['low', 'high'])
def test_an_empty_or_absent_folder(data: Data, side: str):
    for path in (data.root / side).iterdir():
        path.unlink()
    data.refuse(f'{side}: has no pictures in it')
    (data.root / side).rmdir()
    data.refuse(f'Folder .*{side} does not exist')


def test_bright_pictures_alone(data: Data):
    survey = data.check(low=None)
    assert survey.unit == 'pictures' and survey.dark is None and survey.bright == pytest.approx(120, abs=0.5)
    (data.root / 'high/b.png').write_bytes(b'')
    data.refuse(r'unreadable picture: .*high/b\.png', low=None)


def test_configs(data: Data):
    cfg = {'type': 'saga_mm.PairedLowLightDataset', 'data_root': str(data.root), 'pipeline': [{'type': 'absent'}]}
    assert check_low_light_cfg({**cfg, 'hold_out': ['a']}).number == 2
    assert check_low_light_cfg({**cfg, 'hold_out': ['a'], 'split': 'val'}).number == 1
    unpaired = {'type': 'saga_mm.UnpairedDataset', 'data_root': str(data.root)}
    survey = check_low_light_cfg(unpaired)
    assert survey.number == 6 and survey.unit == 'pictures'
    assert check_low_light_cfg({'type': 'CocoDataset', 'data_root': 'x'}) is None
    (data.root / 'low/b.png').write_bytes(b'')
    assert len(survey_low_light(cfg).problems.lines()) == 1


def test_folders_that_are_exchanged_or_the_same_stop_a_training(data: Data):
    words = '3 of 3 dark pictures are brighter than their bright ones; are the folders exchanged'
    data.refuse(words, low='high', high='low')
    data.refuse('3 of 3 dark pictures are as bright .*; are the two folders the same', low='high', high='high')


def test_a_pair_of_one_picture_twice_is_a_warning(data: Data):
    shutil.copy(data.root / 'high/b.png', data.root / 'low/b.png')
    assert f'dark picture exactly as bright as its bright one: {data.root}/low/b.png.' in str(data.check())


def test_folders_of_a_single_pair_that_are_exchanged_stop_a_training(data: Data):
    for path in [*(data.root / 'low').iterdir(), *(data.root / 'high').iterdir()]:
        if path.stem != 'b':
            path.unlink()
    data.refuse('1 of 1 dark pictures are brighter', low='high', high='low')
    assert data.check().number == 1
