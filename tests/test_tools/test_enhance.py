import re
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from saga_mm.errors import SagaError
from saga_mm.images.photo import read_photo
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.enhancement.photographs import enhance_photo

SIZE = (45, 64)
GOOD = ('gray.png', 'rgba.png', 'deep.png', 'deep.tif', 'cmyk.jpg', 'palette.png', 'plain.webp', 'sub/turned.jpg')
BAD = {
    'empty.jpg': 'is empty (0 bytes)',
    'text.jpg': 'is not a picture, or a damaged one',
    'cut.jpg': 'is damaged or cut off',
    'moving.gif': 'holds 3 pictures (an animation)',
}


def picture(size=SIZE, channels=3, highest=90):
    small = np.random.default_rng(0).integers(0, highest, (5, 7, channels)).astype(np.float32)
    return cv2.resize(small, size[::-1]).round().astype(np.uint8)


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder as people have them."""
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    plain = Image.fromarray(picture())
    plain.convert('L').save(folder / 'gray.png')
    Image.fromarray(picture(channels=4, highest=256)).save(folder / 'rgba.png')
    deep = picture().astype(np.uint16) * 201
    cv2.imwrite(str(folder / 'deep.png'), deep)
    cv2.imwrite(str(folder / 'deep.tif'), deep)
    plain.convert('CMYK').save(folder / 'cmyk.jpg')
    plain.quantize(16).save(folder / 'palette.png')
    plain.save(folder / 'plain.webp', lossless=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, 'Maker'
    plain.save(folder / 'sub' / 'turned.jpg', quality=90, exif=exif)
    return folder


def add_bad(folder: Path) -> None:
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('no picture')
    whole = folder / 'cut.jpg'
    Image.fromarray(picture((300, 300))).save(whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = [Image.fromarray(picture(highest=50 * i)) for i in (1, 2, 3)]
    frames[0].save(folder / 'moving.gif', save_all=True, append_images=frames[1:])


def test_a_folder_as_a_user_does_it(photos, weights, tmp_path, fork_tool):
    add_bad(photos)
    before = {path: path.read_bytes() for path in photos.rglob('*') if path.is_file()}
    process = fork_tool('enhance.py', photos, '-o', 'out', '--weights', weights, '--device', 'cpu', cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert {path: path.read_bytes() for path in photos.rglob('*') if path.is_file()} == before
    made = tmp_path / 'out'
    assert sorted(str(path.relative_to(made)) for path in made.rglob('*.*')) == sorted(GOOD)

    lines = out.splitlines()
    for name in GOOD:
        width, height = Image.open(made / name).size
        more = '; CMYK became RGB' * (name == 'cmyk.jpg')
        says = rf'done     {photos}/{name} -> out/{name}  \({width} x {height}{more}, [\d.]+ s\)'
        assert sum(bool(re.fullmatch(says, line)) for line in lines) == 1, name
    for name, reason in BAD.items():
        said = [line for line in lines if line.startswith(f'failed   {photos}/{name}: {reason}')]
        assert len(said) == 1, name
    end = lines.index('8 done, 0 skipped, 4 failed:')
    assert [line.split(':')[0].split('/')[-1] for line in lines[end + 1 :]] == sorted(BAD)
    assert 'Traceback' not in err
    # no bar where no terminal is
    assert '\r' not in err


def test_what_a_file_is_stays(photos, weights, tmp_path, run):
    assert run(weights, photos, out=str(tmp_path / 'out')) == 0
    inferencer = LowLightInferencer(weights, 'cpu', None)
    for name in GOOD:
        source, made = read_photo(photos / name), read_photo(tmp_path / 'out' / name)
        kinds = [(kind.format, kind.depth, kind.gray, kind.alpha) for kind in (source.kind, made.kind)]
        assert kinds[0] == kinds[1] or name == 'palette.png', name
        answer = inferencer(source.pixels)
        if source.kind.gray:
            answer = np.repeat((answer @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=2)
        difference = np.abs(made.pixels - answer)
        if made.kind.format in ('PNG', 'TIFF'):
            assert difference.max() <= 0.5 / (2**made.kind.depth - 1) + 2e-6, name
        else:
            assert difference.mean() < 0.02 and answer.mean() > 1.2 * source.pixels.mean(), name
        if source.alpha is not None:
            assert (made.alpha == source.alpha).all()
    turned = Image.open(tmp_path / 'out' / 'sub' / 'turned.jpg')
    assert turned.size == SIZE and turned.getexif()[ExifTags.Base.Make] == 'Maker'
    assert turned.getexif()[ExifTags.Base.Orientation] == 1


@pytest.mark.parametrize('name', ['gray.png', 'rgba.png', 'deep.png', 'deep.tif'])
def test_strength_0_is_exact(photos, weights, tmp_path, name, run):
    assert run(weights, photos / name, out=str(tmp_path / name), strength=0) == 0
    made, source = read_photo(tmp_path / name), read_photo(photos / name)
    assert (made.pixels == source.pixels).all()


@pytest.mark.parametrize('size', [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_sizes(weights, tmp_path, size, run):
    Image.fromarray(picture(size).reshape(*size, 3)).save(tmp_path / 'a.png')
    assert run(weights, tmp_path / 'a.png', compare=True) == 0
    assert Image.open(tmp_path / 'a_enhanced.png').size == size[::-1]
    assert Image.open(tmp_path / 'a_compare.jpg').width <= 8500


def test_strips_within_the_memory(weights, tmp_path, run, capsys, run_within_memory):
    size = (1000, 1300)
    Image.fromarray(picture(size)).save(tmp_path / 'a.png')
    assert run(weights, tmp_path / 'a.png', max_memory='1MB') == 1
    assert re.search(
        r'a\.png: --max-memory 1MB: too little for 1300 x 1000 pixels; the smallest that works is \d+MB\n',
        capsys.readouterr().out,
    )
    assert [path.name for path in tmp_path.iterdir()] == ['a.png']
    words = ['enhance.py', 'a.png', '--weights', weights, '--device', 'cpu']
    said = run_within_memory(10, *words, cwd=tmp_path)
    assert 'a.png: --max-memory 1MB: too little for 1300 x 1000 pixels' in said and '1 done, 0 skipped' in said
    image = torch.from_numpy(picture(size)).permute(2, 0, 1)[None] / 255
    whole = LowLightInferencer(weights, 'cpu', None).model.enhance(image)[0].permute(1, 2, 0).numpy()
    made = np.asarray(Image.open(tmp_path / 'a_enhanced.png')) / 255
    assert np.abs(made - whole).max() <= 0.5 / 255 + 2e-6


def test_skipped_unless_overwritten(photos, weights, capsys, run):
    assert run(weights, photos / 'gray.png') == 0
    made = photos / 'gray_enhanced.png'
    made.write_bytes(b'mine')
    assert run(weights, photos / 'gray.png', photos / 'rgba.png') == 0
    out = capsys.readouterr().out
    assert f'skipped  {photos}/gray.png: {made} exists already; --overwrite replaces it' in out
    assert '1 done, 1 skipped, 0 failed' in out and made.read_bytes() == b'mine'
    assert run(weights, photos / 'gray.png', overwrite=True) == 0
    assert Image.open(made).mode == 'L'


@pytest.mark.slow
def test_two_at_once_into_one_folder(photos, weights, tmp_path, fork_tool, run):
    words = [photos, '-o', tmp_path / 'out', '--overwrite', '--weights', weights, '--device', 'cpu']
    process = fork_tool('enhance.py', *words, cwd=tmp_path)
    while process.poll() is None and not list((tmp_path / 'out').rglob('*.*')):
        time.sleep(0.02)
    assert run(weights, photos, out=str(tmp_path / 'out'), overwrite=True) == 0
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and f'{len(GOOD)} done, 0 skipped, 0 failed' in out, err
    assert run(weights, photos, out=str(tmp_path / 'alone')) == 0
    for name in GOOD:
        both = [read_photo(tmp_path / folder / name).pixels for folder in ('out', 'alone')]
        assert np.array_equal(*both)
    assert not list((tmp_path / 'out').rglob('.*'))


def test_compare(weights, tmp_path, run):
    Image.fromarray(picture((40, 200))).save(tmp_path / 'a.png')
    Image.fromarray(picture((40, 200))).save(tmp_path / 'a.tif')
    assert run(weights, tmp_path / 'a.png', tmp_path / 'a.tif', compare=True) == 0
    names = {path.name for path in tmp_path.glob('*_compare.jpg')}
    assert names == {'a_compare.jpg', 'a.tif_compare.jpg'}
    sheet = np.asarray(Image.open(tmp_path / 'a_compare.jpg')).astype(int)
    before, after = picture((40, 200)), np.asarray(Image.open(tmp_path / 'a_enhanced.png')).astype(int)
    assert sheet.shape[1] == 404 and np.abs(sheet[-40:, :200] - before).mean() < 6
    assert np.abs(sheet[-40:, 204:] - after).mean() < 6
    labels = sheet[:-40]
    assert (labels[:, :200] < 100).any() and (labels[:, 204:] < 100).any() and (labels[:, 200:204] > 240).all()


def test_compared_pictures_are_no_inputs(weights, tmp_path, capsys, run):
    for name in ('a.png', 'a.tif', 'shoes_compare.jpg'):
        Image.fromarray(picture()).save(tmp_path / name)
    for _ in range(2):
        assert run(weights, tmp_path, compare=True, overwrite=True) == 0
        assert run(weights, *sorted(tmp_path.iterdir()), compare=True, overwrite=True) == 0
        assert '3 done' in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob('*compare*')} == {
        'a_compare.jpg',
        'a.tif_compare.jpg',
        'shoes_compare.jpg',
        'shoes_compare_enhanced.jpg',
        'shoes_compare_compare.jpg',
    }


def test_compared_pictures_replace_nothing(weights, tmp_path, capsys, run):
    Image.fromarray(picture()).save(tmp_path / 'a.png')
    (tmp_path / 'a_compare.jpg').write_text('mine')
    assert run(weights, tmp_path / 'a.png', compare=True) == 1
    assert f'failed   {tmp_path}/a.png: {tmp_path}/a_compare.jpg exists already' in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'a_compare.jpg']


def test_one_line_for_each_that_cannot_be_done(photos, weights, tmp_path, capsys, run):
    (tmp_path / 'none').mkdir()
    code = run(weights, tmp_path / 'gone.jpg', tmp_path / 'none', str(tmp_path / '*.bmp'), photos / 'gray.png')
    out = capsys.readouterr().out
    assert code == 3 and '1 done, 0 skipped, 3 failed' in out
    for name in ('gone.jpg: no such', 'none: has no pictures', r'*.bmp: no picture'):
        assert f'failed   {tmp_path}/{name}' in out


def test_unwritable_output(photos, weights, tmp_path, capsys, run):
    (tmp_path / 'file').touch()
    assert run(weights, photos / 'gray.png', out=str(tmp_path / 'file' / 'a.png')) == 1
    assert re.search(r'failed   .*gray\.png: .*file/a\.png: could not be written \(.+\)', capsys.readouterr().out)


def test_the_output_is_the_input(photos, weights, capsys, run):
    before = (photos / 'gray.png').read_bytes()
    assert run(weights, photos / 'gray.png', out=str(photos / 'gray.png'), overwrite=True) == 1
    assert 'the output would be the input' in capsys.readouterr().out
    assert (photos / 'gray.png').read_bytes() == before


def test_what_goes_wrong_inside_stops_nobody(photos, weights, monkeypatch, capsys, run):
    real = LowLightInferencer.strips

    def failing(self, image, *rest):
        if image.path.name == 'deep.png':
            raise RuntimeError('out of memory:\n tried to allocate')
        if image.path.name == 'deep.tif':
            raise OSError(28, 'no space for a scratch file of 9.0 GiB', '/tmp')
        return real(self, image, *rest)

    monkeypatch.setattr(LowLightInferencer, 'strips', failing)
    assert run(weights, *(photos / name for name in ('deep.png', 'deep.tif', 'gray.png'))) == 2
    out = capsys.readouterr().out
    assert f'failed   {photos}/deep.png: out of memory: tried to allocate\n' in out
    assert f'failed   {photos}/deep.tif: no space for a scratch file of 9.0 GiB (/tmp)\n' in out
    assert sorted(path.name for path in photos.glob('*_enhanced*')) == ['gray_enhanced.png']


def test_progress_is_told(weights, tmp_path):
    Image.fromarray(picture((400, 300))).save(tmp_path / 'a.png')
    told = []
    size = enhance_photo(
        LowLightInferencer(weights, 'cpu', None, 'torch'), tmp_path / 'a.png', tmp_path / 'b.png', tell=told.append
    )
    assert size == '300 x 400' and told == sorted(told) and told[-1] == 1
    assert sum(share < 0.8 for share in told) > 3


def test_without_tqdm(photos, weights, monkeypatch, capsys, run):
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    assert run(weights, photos / 'gray.png') == 0
    assert capsys.readouterr().out.startswith(f'done     {photos}/gray.png -> ')


def test_wrong_options_stop_before_anything(photos, weights, run_here, run):
    for options, said in [
        ({'strength': -1.0}, 'strength=-1.0: must be a number from 0 on'),
        ({'max_memory': 'much'}, 'max_memory=much: is no size'),
        ({'device': 'nowhere'}, 'device=nowhere: no such device'),
    ]:
        with pytest.raises(SagaError, match=said):
            run(weights, photos / 'gray.png', **options)
    with pytest.raises(SagaError, match='weights none: no such file'):
        run('none', photos / 'gray.png')
    words = [photos / 'gray.png', '--weights', weights, '--device', 'cpu', '--max-memory', 'much']
    _, err, _ = run_here('enhance.py', *words)
    assert err == 'error: --max-memory much: is no size; write for example 4GB or 800MB\n'
    assert not list(photos.glob('*_enhanced*'))
