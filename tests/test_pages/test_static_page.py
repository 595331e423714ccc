"""The page that brightens photographs in the browser, in a real browser, against the answers of Python."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

# of the browser's answer from Python's, in grey levels
TOLERANCE = 2
FINISHED = '!document.getElementById("result").hidden || !document.getElementById("message").hidden'
PNG, JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0\x00\x04ab'
CONTROLS = ['file', 'sample', 'divider', 'strength', 'brightness', 'auto', 'denoise', 'format', 'download']


@pytest.fixture(scope='module')
def page(browser, site):
    with browser.open(site.address) as page:
        yield page


@pytest.fixture(scope='module')
def enhance():
    return LowLightInferencer('tiny', 'cpu')


def dark(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    slope = np.add.outer(np.linspace(0, 40, height), np.linspace(0, 30, width))[..., None]
    return (
        (slope * np.linspace(1, 0.6, channels) + rng.normal(0, 5, (height, width, channels))).clip(0, 255).astype('u1')
    )


def save(image: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(image.squeeze()).save(path, **options)
    return path


def run(page, path: Path) -> str:
    """Choose a file; the message, which is empty if there is a result."""
    page.evaluate('document.getElementById("result").hidden = document.getElementById("message").hidden = true')
    page.choose('#file', [path])
    page.wait_for(FINISHED)
    return page.evaluate('document.getElementById("message").textContent')


def move(page, name: str, value: float) -> None:
    """Move a control and let it go."""
    page.evaluate(f"""(() => {{
        const control = document.getElementById("{name}");
        control.value = {value};
        for (const type of ["input", "change"]) control.dispatchEvent(new Event(type));
    }})()""")


def ask(page, brightness: float | None = None, strength: float = 1.0, denoise: float = 1.0) -> None:
    """Set the controls, and wait for the answer."""
    for name, value in {'strength': strength, 'denoise': denoise, 'brightness': brightness}.items():
        if value is not None:
            move(page, name, value)
    if brightness is None and not page.evaluate('document.getElementById("auto").checked'):
        page.evaluate('document.getElementById("auto").click()')
    page.wait_for('document.getElementById("work").hidden')


def download(page, name: str, kind: str = 'image/png', **wanted: float) -> Image.Image:
    """Set the controls and the kind of file, and download the result."""
    ask(page, **wanted)
    page.evaluate(f'document.getElementById("format").value = "{kind}"; document.getElementById("download").click()')
    path = page.browser.downloaded(name)
    answer = Image.open(io.BytesIO(path.read_bytes()))
    path.unlink()
    return answer


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def test_the_download_is_pythons_answer_pixel_by_pixel_at_full_size(page, site, enhance, tmp_path):
    image = dark(157, 203)
    assert run(page, save(image, tmp_path / 'odd.png')) == ''
    for wanted in (
        {},
        {'strength': 0.6},
        {'strength': 1.3, 'denoise': 0.4},
        {'brightness': 0.3},
        {'brightness': 0.6, 'denoise': 0.0, 'strength': 0.8},
        {},
    ):
        answer = download(page, 'odd_enhanced.png', **wanted)
        assert answer.size == (203, 157)
        difference = np.abs(np.asarray(answer)[..., :3].astype(int) - enhance(image, **wanted))
        assert difference.max() <= TOLERANCE, wanted
    assert np.abs(enhance(image, 1.0).astype(int) - image).mean() > 20


def test_the_brightness_is_reached_and_the_automatic_one_is_told(page, enhance, tmp_path):
    image = dark(64, 96)
    assert run(page, save(image, tmp_path / 'seen.png')) == ''
    ask(page)
    told = 'document.getElementById("brightness-value").textContent'
    assert 0.2 < float(page.evaluate(told)) < 0.7
    for brightness in (0.25, 0.5):
        answer = np.asarray(download(page, 'seen_enhanced.png', brightness=brightness))[..., :3] / 255
        assert abs((answer @ (0.299, 0.587, 0.114)).mean() - brightness) < 0.01
        assert float(page.evaluate(told)) == brightness


def test_a_brightness_that_cannot_be_reached_leaves_what_was_seen(page, tmp_path):
    image = np.zeros((40, 56, 3), np.uint8)
    image[:2, :2] = 200
    # not what the test before asked for
    page.evaluate('document.getElementById("auto").checked = true')
    assert run(page, save(image, tmp_path / 'black.png')) == ''
    ask(page)
    before = np.asarray(download(page, 'black_enhanced.png'))
    move(page, 'denoise', 0)
    move(page, 'brightness', 0.95)
    page.wait_for('!document.getElementById("message").hidden && document.getElementById("work").hidden')
    assert 'cannot be reached: this picture can have 0.0' in page.evaluate(
        'document.getElementById("message").textContent'
    )
    assert page.evaluate('document.getElementById("auto").checked && !document.getElementById("result").hidden')
    assert np.array_equal(np.asarray(download(page, 'black_enhanced.png')), before)


def test_a_run_for_another_brightness_can_be_stopped_and_overtaken(page, enhance, tmp_path):
    image = dark(400, 600)
    assert run(page, save(image, tmp_path / 'large.png')) == ''
    ask(page)
    move(page, 'brightness', 0.7)
    assert page.evaluate('document.getElementById("download").disabled')
    page.evaluate('document.getElementById("stop").click()')
    assert page.evaluate('document.getElementById("auto").checked && document.getElementById("work").hidden')
    move(page, 'brightness', 0.7)
    answer = download(page, 'large_enhanced.png', brightness=0.3)
    assert np.abs(np.asarray(answer)[..., :3].astype(int) - enhance(image, brightness=0.3)).max() <= TOLERANCE


def test_what_is_seen_changes_with_the_strength(page, tmp_path):
    assert run(page, save(dark(64, 96), tmp_path / 'seen.png')) == ''
    middle = 'Array.from(document.getElementById("%s").getContext("2d").getImageData(48, 32, 1, 1).data).join()'
    before = page.evaluate(middle % 'before')
    page.evaluate('strength = document.getElementById("strength"); strength.value = 0')
    assert page.evaluate(middle % 'after') != before
    page.evaluate('strength.dispatchEvent(new Event("input"))')
    page.wait_for(f'{middle % "after"} === "{before}"')


def test_strips_of_any_height_give_the_same_answer(page, tmp_path):
    widest = page.evaluate("""(async () => {
        const ort = await import('./ort/ort.wasm.min.mjs');
        ort.env.wasm.wasmPaths = new URL('./ort/', location.href).href;
        ort.env.wasm.numThreads = 1;
        const { StripModel } = await import('./strips.js');
        const model = await StripModel.load(ort, new URL('./model/', location.href));
        const [width, height] = [45, 99];
        const data = new Uint8ClampedArray(width * height * 4).map((_, i) => (i * 7919 + (i >> 5)) % 61);
        const shares = [];
        const answers = [];
        for (const bytes of [2 ** 30, 2 ** 19, 1]) {
            const told = [];
            answers.push((await model.run({ width, height, data }, null, (share) => told.push(share), bytes)).values);
            shares.push(told);
        }
        const apart = (other) => Math.max(...answers[0].map((value, i) => Math.abs(value - other[i])));
        return {
            apart: answers.slice(1).map(apart),
            strips: shares.map((told) => told.length),
            ends: shares.map((told) => told.at(-1)),
        };
    })()""")
    # 16 steps are one grey level
    assert max(widest['apart']) <= 1
    assert widest['strips'][0] == 7 and widest['strips'][2] == 7 * 13 and 7 < widest['strips'][1] < 7 * 13
    assert widest['ends'] == pytest.approx([1, 1, 1])


def test_a_turned_photograph_is_put_upright(page, enhance, tmp_path):
    upright = dark(80, 120)
    upright[:40, :60] = (90, 10, 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(upright)
    path = save(stored, tmp_path / 'turned.jpg', exif=exif, quality=95, subsampling=0)
    assert run(page, path) == ''
    answer = np.asarray(download(page, 'turned_enhanced.png'))[..., :3].astype(int)
    with Image.open(path) as decoded:
        expected = enhance(np.rot90(np.asarray(decoded), -1).copy())
    assert answer.shape == upright.shape
    assert np.abs(answer - expected).max() <= TOLERANCE


def test_grey_stays_grey_and_opacity_stays(page, enhance, tmp_path):
    grey = dark(40, 56, 1)
    assert run(page, save(grey, tmp_path / 'grey.png')) == ''
    answer = np.asarray(download(page, 'grey_enhanced.png'))[..., :3].astype(int)
    assert (answer == answer[..., :1]).all()
    assert np.abs(answer[..., 0] - enhance(grey[..., 0])).max() <= TOLERANCE
    clear = np.concatenate([dark(40, 56), np.full((40, 56, 1), 128, np.uint8)], axis=2)
    assert run(page, save(clear, tmp_path / 'clear.png')) == ''
    assert (np.asarray(download(page, 'clear_enhanced.png'))[..., 3] == 128).all()


def test_a_jpeg_can_be_downloaded(page, tmp_path):
    assert run(page, save(dark(40, 56), tmp_path / 'photo.jpeg')) == ''
    answer = download(page, 'photo_enhanced.jpg', 'image/jpeg')
    assert answer.format == 'JPEG' and answer.size == (56, 40)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('words.png', b'no picture at all', 'no picture that this browser can open'),
        ('empty.jpg', b'', 'empty'),
        ('cut.png', PNG + chunk(b'IHDR', struct.pack('>IIBBBBB', 64, 64, 8, 2, 0, 0, 0)), 'damaged'),
        (
            'huge.png',
            PNG + chunk(b'IHDR', struct.pack('>IIBBBBB', 100000, 100000, 8, 2, 0, 0, 0)),
            '100000 \xd7 100000',
        ),
        ('huge.jpg', JPEG + b'\xff\xc0\x00\x0b\x08\xea\x60\xea\x60\x03\x01\x11\x00', '60000 \xd7 60000 pixels'),
    ],
)
def test_a_file_that_is_no_picture_or_too_large_is_refused_with_the_reason(page, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in run(page, tmp_path / name)
    assert page.evaluate('document.getElementById("result").hidden && document.getElementById("work").hidden')


def test_after_a_refusal_the_next_photograph_works(page, tmp_path):
    (tmp_path / 'words.png').write_bytes(b'no picture at all')
    assert run(page, tmp_path / 'words.png')
    assert run(page, save(dark(40, 56), tmp_path / 'next.png')) == ''


def test_a_run_can_be_stopped(page, tmp_path):
    page.choose('#file', [save(dark(400, 600), tmp_path / 'stopped.png')])
    page.wait_for('!document.getElementById("work").hidden')
    page.evaluate('document.getElementById("stop").click()')
    assert page.evaluate('document.getElementById("work").hidden && document.activeElement.id') == 'file'
    assert run(page, save(dark(40, 56), tmp_path / 'again.png')) == ''


def test_all_controls_are_reached_and_moved_by_keyboard(browser, site, tmp_path):
    with browser.open(site.address) as page:
        assert run(page, save(dark(40, 56), tmp_path / 'keys.png')) == ''
        reach_and_move(page)


def reach_and_move(page):
    reached = []
    for _ in CONTROLS:
        page.press('Tab')
        reached.append(page.evaluate('document.activeElement.id'))
    assert reached == CONTROLS
    page.press('Enter')
    page.browser.downloaded('keys_enhanced.png')
    page.evaluate('document.getElementById("divider").focus()')
    clip = 'getComputedStyle(document.getElementById("after")).clipPath'
    before = page.evaluate(clip)
    page.press('ArrowRight', 10)
    assert page.evaluate('document.getElementById("divider").value') == '0.6'
    assert page.evaluate(clip) != before
    outline = 'getComputedStyle(document.getElementById("line")).outlineStyle'
    assert page.evaluate(outline) == 'solid'


def test_a_screen_reader_is_told_what_each_part_is(page, tmp_path):
    assert run(page, save(dark(40, 56), tmp_path / 'heard.png')) == ''
    names = page.names()
    for told in (
        ('heading', 'Brighten a dark photograph'),
        ('button', 'Choose a photograph'),
        ('button', 'Try the sample'),
        ('image', 'The photograph before'),
        ('image', 'The photograph after'),
        ('slider', 'Divider between before and after'),
        ('slider', 'Strength'),
        ('slider', 'Brightness'),
        ('checkbox', 'automatic'),
        ('slider', 'Noise removal'),
        ('combobox', 'File'),
        ('button', 'Download at full size'),
    ):
        assert told in names
    (tmp_path / 'words.png').write_bytes(b'no picture')
    assert run(page, tmp_path / 'words.png')
    assert any(role == 'alert' for role, _ in page.names())


def test_a_phone_sees_all_of_it_without_scrolling_sideways(browser, site, tmp_path):
    with browser.open(site.address, size=(360, 740)) as phone:
        assert run(phone, save(dark(90, 160), tmp_path / 'wide.png')) == ''
        assert phone.evaluate('document.documentElement.scrollWidth') == 360
        # of two lines, below the buttons, which are in the middle
        assert phone.evaluate('getComputedStyle(document.getElementById("kinds")).textAlign') == 'center'
        for name in ('sample', 'strength', 'brightness', 'denoise', 'format', 'download'):
            box = f'document.getElementById("{name}").getBoundingClientRect()'
            # as large as a finger
            assert phone.evaluate(f'{box}.height') >= 44
            assert phone.evaluate(f'{box}.left >= 0 && {box}.right <= 360')


def test_colours_follow_the_system(browser, site):
    ground = 'getComputedStyle(document.body).backgroundColor'
    with browser.open(site.address) as page:
        grounds = {}
        for scheme in ('light', 'dark'):
            page.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
            grounds[scheme] = sum(map(int, page.evaluate(ground).strip('rgb()').split(',')))
        assert grounds['dark'] < 150 and grounds['light'] > 600


def test_a_browser_that_lacks_something_is_told_what(browser, site):
    with browser.open(site.address, before='delete self.OffscreenCanvas; delete self.WebAssembly') as page:
        said = page.evaluate('document.getElementById("message").textContent')
        assert 'lacks WebAssembly, WebAssembly SIMD, OffscreenCanvas' in said
        assert page.evaluate('document.getElementById("choose").hidden')


def test_nothing_leaves_the_page(page, site):
    assert {method for method, _ in site.asked} == {'GET'}
    assert all('?' not in path for _, path in site.asked)
    other = 'http://localhost:' + site.address.split(':')[2].split('/')[0]
    assert page.evaluate(f'fetch("{other}/sample.jpg").then(() => "sent", () => "refused")') == 'refused'
    assert page.evaluate('fetch("sample.jpg").then((answer) => answer.status)') == 200
