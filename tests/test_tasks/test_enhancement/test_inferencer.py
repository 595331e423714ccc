import re

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.photo_writer import LUMA
from saga_mm.models.enhancement.finish import Finish
from saga_mm.models.enhancement.weight_files import build_enhancer, read_weights, save_weights
from saga_mm.rows import MemoryBudget, RowRunner, Storage
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.enhancement.wanted import wanted_finish

ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}
CONFIG = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}}
BARE = """
import importlib.abc, sys

BLOCKED = 'mmcv', 'mmdet', 'mmseg', 'torchvision', 'pycocotools', 'skimage', 'tqdm', 'OpenImageIO'

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ImportError(f'{name} is blocked in this test')

sys.meta_path.insert(0, Blocker())
import numpy as np
import torch
import saga_mm
from saga_mm.apis import LowLightInferencer

assert saga_mm.create_backbone('saga_pvt_v2_b0').eval()(torch.zeros(1, 3, 40, 64))[0].shape == (1, 32, 10, 16)
dark = np.full((20, 30, 3), 20, np.uint8)
print(LowLightInferencer(sys.argv[1], device='cpu')(dark).mean() > 20)
"""


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = build_enhancer(CONFIG)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02 if name == 'head.conv.weight' else 0.2)
    torch.nn.init.constant_(model.head.conv.bias[:12], 1.0)
    path = tmp_path_factory.mktemp('weights') / 'small.npz'
    save_weights(path, CONFIG, model.state_dict(), torch.float32)
    return path


@pytest.fixture(scope='module')
def inferencer(weights):
    return LowLightInferencer(weights, device='cpu', max_memory=None)


def picture(height=37, width=53, channels=3, kind=np.uint8):
    values = np.random.default_rng(0).random((height, width, channels)).squeeze() * 0.4
    return values.astype(kind) if np.dtype(kind).kind == 'f' else (values * np.iinfo(kind).max).astype(kind)


def whole(inferencer, image, strength=1.0):
    """The answer of the model itself, float32 in [0, 1]."""
    scale = 1 if image.dtype.kind == 'f' else np.iinfo(image.dtype).max
    tensor = torch.from_numpy(image.astype(np.float32) / scale).permute(2, 0, 1)[None]
    return inferencer.model.enhance(tensor, strength)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ('kind', 'step'), [(np.uint8, 1 / 255), (np.uint16, 1 / 65535), (np.float32, 0), (np.float64, 0)]
)
def test_arrays(inferencer, kind, step):
    image = picture(kind=kind)
    before = image.copy()
    answer = inferencer(image)
    assert answer.dtype == image.dtype and answer.shape == image.shape and (image == before).all()
    scale = 1 if image.dtype.kind == 'f' else np.iinfo(kind).max
    assert np.abs(answer / scale - whole(inferencer, image)).max() <= step / 2 + 2e-6
    assert answer.mean() > 1.2 * image.mean()


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float16, np.float64])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_strength_0_is_exact(inferencer, kind, channels):
    image = picture(channels=channels, kind=kind)
    answer = inferencer(image, strength=0)
    assert answer.dtype == image.dtype and (answer == image).all() and answer is not image


@pytest.mark.parametrize('strength', [0.5, 1.5])
def test_strength(inferencer, strength):
    image = picture(kind=np.float32)
    line = image + strength * (whole(inferencer, image) - image)
    inside = abs(whole(inferencer, image) - 0.5) < 0.5
    assert inside.mean() > 0.5
    assert np.abs(inferencer(image, strength) - line.clip(0, 1))[inside].max() < 1e-5


@pytest.mark.parametrize('size', [(1, 1), (1, 50), (50, 1), (9, 8), (130, 67)])
def test_any_size(inferencer, size):
    image = picture(*size).reshape(*size, 3)
    assert np.abs(inferencer(image) / 255 - whole(inferencer, image)).max() <= 0.5 / 255 + 2e-6


def test_gray_stays_gray_and_opacity_as_it_is(inferencer):
    gray = picture(channels=1)
    answer = inferencer(gray)
    colours = inferencer(np.stack([gray] * 3, axis=2))
    assert answer.shape == gray.shape
    assert np.abs(answer - colours @ np.array([0.299, 0.587, 0.114])).max() <= 1
    assert (inferencer(gray[..., None])[..., 0] == answer).all()
    clear = picture(channels=4)
    answer = inferencer(clear)
    assert (answer[..., 3] == clear[..., 3]).all()
    assert (answer[..., :3] == inferencer(np.ascontiguousarray(clear[..., :3]))).all()
    pair = np.stack([gray, clear[..., 3]], axis=2)
    assert (inferencer(pair) == np.stack([inferencer(gray), clear[..., 3]], axis=2)).all()


@pytest.mark.parametrize('size', [(203, 161), (64, 31)])
def test_strips_are_the_whole_pass(inferencer, monkeypatch, tmp_path, size):
    class Lowest(MemoryBudget):
        trims = 0

        def plan(self, *_):
            return RowRunner(Storage(0, tmp_path), rows=2, budget=self)

        def trim(self):
            self.trims += 1

    lowest = Lowest.of(inferencer.model)
    lowest.large = 0
    monkeypatch.setattr(inferencer, 'budget', lowest)
    image = picture(*size)
    assert np.abs(inferencer(image) / 255 - whole(inferencer, image)).max() <= 0.5 / 255 + 2e-6
    assert lowest.trims > size[0] // 2


def test_too_little_memory_says_how_much_is_not(inferencer, weights):
    image = picture(203, 161)
    with pytest.raises(SagaError) as refused:
        LowLightInferencer(weights, 'cpu', max_memory='1MB')(image)
    said = r'max_memory=1MB: too little for 161 x 203 pixels; the smallest that works is (\d+)MB'
    smallest = re.fullmatch(said, str(refused.value))
    # what this process holds changes a little
    answer = LowLightInferencer(weights, 'cpu', max_memory=f'{int(smallest[1]) + 50}MB')(image)
    assert np.abs(answer.astype(int) - inferencer(image)).max() <= 1


def test_rows_of_anything(inferencer):
    class Rows:
        height, width = 150, 90

        def read(self, start, stop):
            return np.full((stop - start, self.width, 3), 0.1, np.float32)

    for strength in (0, 1):
        rows = list(inferencer.strips(Rows(), Finish(strength)))
        assert np.concatenate(rows).shape == (150, 90, 3) and len(rows) > 1
        assert {part.dtype for part in rows} == {np.dtype(np.float32)}


def test_lists(inferencer):
    images = [picture(), picture(20, 11)]
    answers = inferencer(images, strength=0.7)
    assert [(answer == inferencer(image, 0.7)).all() for answer, image in zip(answers, images, strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', 'I;16', 'P', '1', 'CMYK'])
def test_pil_images(inferencer, mode):
    image = Image.fromarray(picture(channels=1, kind=np.uint16)) if mode == 'I;16' else Image.fromarray(picture())
    image = image if mode == image.mode else image.convert(mode)
    image.info['icc_profile'] = b'some profile'
    answer = inferencer(image)
    kept = mode in ('RGB', 'RGBA', 'L', 'LA', 'I;16')
    assert (answer.mode, answer.size) == (mode if kept else 'RGB', image.size)
    # a profile of CMYK says nothing of RGB
    assert answer.info.get('icc_profile') == (None if mode == 'CMYK' else b'some profile')
    assert (np.asarray(answer) == inferencer(np.asarray(image if kept else image.convert('RGB')))).all()


@pytest.mark.parametrize('mode', ['I;16B', 'I', 'F'])
def test_pil_images_of_more_than_8_bits(inferencer, mode):
    deep = picture(channels=1, kind=np.uint16)
    values = (deep / np.float32(65535)).astype(np.float32) if mode == 'F' else deep
    image = Image.fromarray(deep.astype('>u2')) if mode == 'I;16B' else Image.fromarray(values.astype(np.int32))
    image = Image.fromarray(values) if mode == 'F' else image
    assert image.mode == mode
    answer = inferencer(image)
    assert answer.mode == ('F' if mode == 'F' else 'I;16')
    assert np.array_equal(np.asarray(answer), inferencer(values))


def test_pil_images_with_a_transparent_colour(inferencer, tmp_path):
    clear = Image.fromarray(picture()).quantize(16)
    clear.info['transparency'] = 3
    answer = inferencer(clear)
    answer.save(tmp_path / 'a.png')
    # opacity is that of the palette, and no colour of the answer was taken for its index
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'a.png'))[..., 3], np.asarray(clear.convert('RGBA'))[..., 3])


@pytest.mark.parametrize('values', [[[-1, 5]], [[0, 70000]]])
def test_whole_numbers_beyond_16_bits(inferencer, values):
    with pytest.raises(SagaError, match=f'of int32 from {values[0][0]} to {values[0][1]}: must be in 16 bits'):
        inferencer(Image.fromarray(np.array(values, np.int32)))


def test_a_path_gives_the_path_of_what_was_written(inferencer, tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'a.png')
    written = inferencer(str(tmp_path / 'a.png'))
    assert written == tmp_path / 'a_enhanced.png'
    assert (np.asarray(Image.open(written)) == inferencer(picture())).all()
    with pytest.raises(SagaError, match=r'a\.png: .*a_enhanced\.png exists already'):
        inferencer(tmp_path / 'a.png')
    written = inferencer.save(tmp_path / 'a.png', tmp_path / 'b.jpg', compare=True)
    assert written == tmp_path / 'b.jpg'
    assert Image.open(written).size == (53, 37) and (tmp_path / 'b_compare.jpg').is_file()


def test_a_folder_gives_a_folder(inferencer, tmp_path):
    (tmp_path / 'in' / 'sub').mkdir(parents=True)
    for name in ('a.png', 'sub/b.png'):
        Image.fromarray(picture()).save(tmp_path / 'in' / name)
    out = inferencer.save(tmp_path / 'in', tmp_path / 'out')
    assert out == tmp_path / 'out'
    assert sorted(str(path.relative_to(out)) for path in out.rglob('*.*')) == ['a.png', 'sub/b.png']
    (tmp_path / 'in' / 'bad.png').write_bytes(b'')
    with pytest.raises(SagaError, match=r'bad\.png: is empty'):
        inferencer.save(tmp_path / 'in', tmp_path / 'out', overwrite=True)
    assert inferencer(tmp_path / 'in' / 'sub') == tmp_path / 'in' / 'sub'
    assert (tmp_path / 'in' / 'sub' / 'b_enhanced.png').is_file()


@pytest.mark.parametrize(
    ('image', 'said'),
    [
        (np.zeros((4, 4, 5), np.uint8), r'shape \(4, 4, 5\): must be \(H, W, 3\)'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
        (np.zeros((1, 3, 4, 4), np.uint8), r'shape \(1, 3, 4, 4\)'),
        (np.zeros((4, 4, 3), np.int64), 'of int64: must be uint8, uint16'),
        (np.full((4, 4, 3), 200.0), r'of float64 from 200 to 200: must be in \[0, 1\]'),
        (np.full((4, 4, 3), np.nan, np.float32), r'from nan to nan: must be in \[0, 1\]'),
        (7, 'an array, a PIL image or a path, not a int'),
        ('nothing.jpg', r'nothing\.jpg: no such picture'),
    ],
)
def test_what_is_no_image(inferencer, image, said):
    with pytest.raises(SagaError, match=said):
        inferencer(image)


@pytest.mark.parametrize('strength', [-0.1, float('nan'), float('inf'), 'much', None])
def test_what_is_no_strength(inferencer, strength):
    with pytest.raises(SagaError, match=rf'strength={strength}: must be a number from 0 on'):
        inferencer(picture(), strength)


def test_wrong_from_the_start(weights):
    with pytest.raises(SagaError, match='device=nowhere: no such device'):
        LowLightInferencer(weights, device='nowhere')
    with pytest.raises(SagaError, match=r'^max_memory=much: is no size'):
        LowLightInferencer(weights, max_memory='much')
    with pytest.raises(SagaError, match='weights none: no such file'):
        LowLightInferencer('none')


def test_a_backbone_and_an_enhancer_need_torch_and_mmengine_alone(weights, bare_forker):
    assert bare_forker.run_code(BARE, weights).written('out') == 'True\n'


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32])
def test_grey_stored_in_colour_stays_grey(inferencer, kind):
    grey = picture(channels=1, kind=kind)
    answer = inferencer(np.repeat(grey[..., None], 3, axis=2))
    assert np.ptp(answer, axis=2).max() == 0
    np.testing.assert_allclose(answer[..., 0], inferencer(grey), rtol=0, atol=1e-6 if kind is np.float32 else 1)


def test_a_file_of_grey_stored_in_colour(inferencer, tmp_path):
    grey = Image.fromarray(picture(channels=1))
    grey.save(tmp_path / 'grey.png')
    grey.convert('RGB').save(tmp_path / 'colour.png')
    found = [np.asarray(Image.open(inferencer.save(tmp_path / name))) for name in ('grey.png', 'colour.png')]
    assert np.array_equal(found[1], np.repeat(found[0][..., None], 3, axis=2))


def level(image):
    return float((image.astype(np.float64) / 255 @ LUMA).mean())


def test_brightness_is_reached_and_that_of_a_picture_matched(inferencer, tmp_path):
    image, other = picture(), 255 - picture()
    assert level(inferencer(image, brightness=0.45)) == pytest.approx(0.45, abs=2e-3)
    Image.fromarray(other).save(tmp_path / 'other.png')
    assert level(inferencer(image, match=tmp_path / 'other.png')) == pytest.approx(level(other), abs=2e-3)
    assert np.array_equal(inferencer(image, brightness='auto'), inferencer(image))
    assert np.array_equal(inferencer(image, brightness='0.45'), inferencer(image, brightness=0.45))


def test_denoise_0_keeps_the_noise_of_the_image(inferencer):
    image = picture(64, 64)
    smooth, noisy = (inferencer(image, denoise=share).astype(float) for share in (1, 0))
    assert np.abs(smooth - noisy).max() > 0 and abs(smooth.mean() - noisy.mean()) < 5


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'brightness': 0}, 'brightness=0: must be a mean luminance between 0 and 1, or auto'),
        ({'brightness': 'dark'}, 'brightness=dark: must be'),
        ({'brightness': float('nan')}, 'brightness=nan: must be'),
        ({'denoise': 2}, 'denoise=2: must be a number from 0 to 1'),
        ({'denoise': 'no'}, 'denoise=no: must be a number from 0 to 1'),
        ({'match': 'nowhere.png'}, r'match=nowhere\.png: cannot be read as a picture'),
        ({'match': 'text.png'}, r'match=text\.png: cannot be read as a picture'),
        ({'match': 'black.png'}, r'match=black\.png: is black everywhere'),
        (
            {'strength': 0, 'brightness': 0.5},
            'strength=0: leaves the picture as it is, and brightness would',
        ),
        ({'strength': 0, 'denoise': 0.5}, 'and denoise would change nothing; leave one of them out'),
        ({'match': 'text.png', 'brightness': 0.5}, r'match=text\.png: brightness=0\.5 is asked for as well'),
    ],
)
def test_what_cannot_be_wanted_is_one_line(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.png').write_text('no picture')
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save('black.png')
    with pytest.raises(SagaError, match=said) as caught:
        wanted_finish(**options)
    assert '\n' not in str(caught.value)


def test_a_brightness_beyond_reach_is_one_line(inferencer):
    with pytest.raises(SagaError, match=r'brightness=0\.5: cannot be reached'):
        inferencer(np.full((16, 16, 3), 255, np.uint8), brightness=0.5)


def test_a_comparison_that_exists_is_kept(inferencer, tmp_path):
    Image.new('RGB', (9, 7)).save(tmp_path / 'a.png')
    (tmp_path / 'b_compare.jpg').write_text('mine')
    with pytest.raises(SagaError, match=r'b_compare\.jpg exists already; save\(\.\.\., overwrite=True\) replaces it'):
        inferencer.save(tmp_path / 'a.png', tmp_path / 'b.png', compare=True)
    assert (tmp_path / 'b_compare.jpg').read_text() == 'mine' and not (tmp_path / 'b.png').exists()


def test_a_bug_keeps_its_cause_and_what_exists_its_cure(inferencer, tmp_path, monkeypatch):
    Image.new('RGB', (9, 7)).save(tmp_path / 'a.png')
    inferencer(tmp_path / 'a.png')
    with pytest.raises(SagaError, match=r'exists already; save\(\.\.\., overwrite=True\) replaces it'):
        inferencer(tmp_path / 'a.png')

    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError('a bug')

    monkeypatch.setattr(inferencer, 'strips', break_down)
    with pytest.raises(SagaError, match='a bug') as caught:
        inferencer.save(tmp_path / 'a.png', tmp_path / 'b.png')
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize('licence', ['research only, as the data', 'CC0-1.0', ''])
def test_terms_of_research_are_said_where_weights_are_used(weights, tmp_path, capsys, licence):
    header, state = read_weights(weights)
    save_weights(tmp_path / 'w.npz', header['model'], state, torch.float32, licence)
    LowLightInferencer(tmp_path / 'w.npz', 'cpu')
    said = capsys.readouterr().err
    assert said == (f'weights {tmp_path / "w.npz"}: {licence}\n' if 'research' in licence else '')
