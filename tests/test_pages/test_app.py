"""The page of ``saga-mm demo`` in a real browser, and what its server refuses."""

import json
import os
import signal
import socket
import struct
import time
import urllib.error
import urllib.request
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.pages import answers, app
from saga_mm.pages.answers import Models
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

# not imported before it is used: that takes seconds
pytestmark = pytest.mark.skipif(find_spec('gradio') is None, reason="needs gradio (pip install 'saga-mm[page]')")
LIMIT = 2**20
# of each tab, some of what a screen reader tells
TOLD = {
    'Enhance': [('slider', 'range slider for Strength'), ('slider', 'range slider for Noise removal')],
    'Detect': [('slider', 'range slider for Lowest score')],
    'Segment': [],
    'Look inside': [('radio', 'key gate')],
}
TABS = {'Enhance': 'enhance', 'Detect': 'detect', 'Segment': 'segment', 'Look inside': 'look'}


class Server:
    """The page on a free port.

    Attributes:
        address: Of the page, without a slash at the end.
    """

    def __init__(self, folder: Path, models: Models) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.page = app.build_page(models, folder)
        self.address = app.serve(self.page, folder, '127.0.0.1', port, wait=False).rstrip('/')

    def ask(self, path: str, content: bytes | None = None, kind: str = 'application/json') -> tuple[int, bytes]:
        """Status and content of an answer."""
        request = urllib.request.Request(self.address + path, content, {'Content-Type': kind} if content else {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture(scope='module')
def server(tmp_path_factory, checkpoints):
    folder = tmp_path_factory.mktemp('app')
    with pytest.MonkeyPatch.context() as patch:
        # what the page sets is taken back
        for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'):
            patch.setenv(name, '')
        patch.setattr(app, 'MOST_BYTES', LIMIT)
        models = Models(checkpoints['tiny'], checkpoints['tiny_segmentation'], ('saga_pvt_tiny',), 'cpu')
        server = Server(folder, models)
        yield server
        server.page.close(verbose=False)


@pytest.fixture(scope='module')
def page(browser, server):
    with browser.open(f'{server.address}/') as page:
        page.wait_for('document.getElementById("enhance") && document.querySelector(".photo input[type=file]")')
        yield page


def save_dark(path: Path, **options) -> Path:
    pixels = np.random.default_rng(0).integers(0, 60, (157, 203, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def panel(button: str) -> str:
    """The tab with a button."""
    return f'[role=tabpanel]:has(#{button})'


def choose_tab(page, tab: str) -> None:
    tabs = '[...document.querySelectorAll("[role=tab]")]'
    page.evaluate(f'{tabs}.find((tab) => tab.innerText.trim() === "{tab}").click()')
    page.wait_for(f'document.getElementById("{TABS[tab]}")?.offsetParent')


def start(page, tab: str, path: Path) -> None:
    """Choose a file in a tab, and press its button."""
    button, photo = TABS[tab], f'{panel(TABS[tab])} .photo'
    choose_tab(page, tab)
    page.evaluate(f"document.querySelector(\"{photo} button[aria-label='Clear'], {photo} [title='Clear']\")?.click()")
    page.wait_for(f'document.querySelector("{photo} input[type=file]")')
    page.choose(f'{photo} input[type=file]', [path])
    page.wait_for(
        f'document.querySelector("{photo}").innerText.replaceAll("\\n", "").includes({json.dumps(path.stem)})'
    )
    page.evaluate(f'document.getElementById("{button}").click()')


def texts(page, selector: str) -> list[str]:
    """What is written in each element."""
    return page.evaluate(f'[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText.trim())')


def test_a_photograph_is_enhanced_and_downloaded_as_python_writes_it(page, tmp_path):
    source = save_dark(tmp_path / 'photo.png')
    start(page, 'Enhance', source)
    page.wait_for('document.querySelectorAll("#compare img").length === 2')
    page.wait_for('!document.querySelector("#download").disabled')
    page.evaluate('document.getElementById("download").click()')
    answer = np.asarray(Image.open(page.browser.downloaded('photo_enhanced.png'))).astype(int)
    expected = LowLightInferencer('base')(np.asarray(Image.open(source)))
    assert answer.shape == (157, 203, 3)
    assert np.abs(answer - expected).max() <= 2


def test_a_port_that_is_taken_is_told_in_one_line(server, tmp_path):
    port = int(server.address.rpartition(':')[2])
    for taken in (port, 70000):
        with pytest.raises(SagaError, match=f'^port={taken}: .* choose another$'):
            app.serve(server.page, tmp_path, '127.0.0.1', taken, wait=False)


def test_brightness_and_noise_removal_are_as_in_python(page, tmp_path):
    source = save_dark(tmp_path / 'level.png')
    page.evaluate(f'document.querySelector("{panel("enhance")} input[type=checkbox]").click()')
    level = f'{panel("enhance")} input[type=range][aria-label*=Brightness]'
    page.wait_for(f'document.querySelector("{level}")')
    page.evaluate(f'document.querySelector("{level}").focus()')
    page.press('ArrowLeft', 15)
    start(page, 'Enhance', source)
    page.wait_for('!document.querySelector("#download").disabled && document.body.innerText.includes("level")')
    expected = LowLightInferencer('base')(np.asarray(Image.open(source)), brightness=0.3)
    for _ in range(100):
        page.evaluate('document.getElementById("download").click()')
        names = [name for name in os.listdir(page.browser.downloads) if name.startswith('level')]
        if names:
            break
        time.sleep(0.1)
    answer = np.asarray(Image.open(page.browser.downloaded('level_enhanced.png'))).astype(int)
    page.evaluate(f'document.querySelector("{panel("enhance")} input[type=checkbox]").click()')
    assert np.abs(answer - expected).max() <= 2


def test_objects_are_drawn_and_listed(page, checkpoints, tmp_path):
    source = save_dark(tmp_path / 'objects.png')
    (_, marks), _, rows = answers.detect(str(source), checkpoints['tiny'], 0.05, 'cpu')
    assert rows and len(rows) == len(marks)
    choose_tab(page, 'Detect')
    page.evaluate(f'document.querySelector("{panel("detect")} input[type=range]").focus()')
    page.press('ArrowLeft', 9)
    start(page, 'Detect', source)
    page.wait_for(f'document.querySelectorAll("#objects img").length === {1 + len(marks)}')
    assert texts(page, '#objects .legend-item') == [label for _, label in marks]
    page.wait_for(f'document.querySelector("{panel("detect")} .table").innerText.includes({json.dumps(rows[-1][2])})')
    told = ' '.join(texts(page, f'{panel("detect")} .table'))
    assert all(name in told and box in told for name, _, box in rows)


def test_a_visitor_reads_that_no_object_has_the_score(page, checkpoints, tmp_path):
    source = save_dark(tmp_path / 'nothing.png')
    assert not answers.detect(str(source), checkpoints['tiny'], 0.95, 'cpu')[2]
    choose_tab(page, 'Detect')
    page.evaluate(f'document.querySelector("{panel("detect")} input[type=range]").focus()')
    page.press('ArrowRight', 18)
    start(page, 'Detect', source)
    page.wait_for('document.body.innerText.includes("No object has a score of 0.95 or more. Try a lower one.")')


def test_a_message_goes_before_it_stands_beside_a_later_result():
    import gradio

    def refuse():
        raise SagaError('is no picture')

    with pytest.raises(gradio.Error, match='is no picture') as told:
        app.with_messages(gradio, refuse)()
    assert told.value.duration == app.READ


def test_classes_are_drawn_and_their_shares_listed(page, checkpoints, tmp_path):
    source = save_dark(tmp_path / 'classes.png')
    (_, marks), colours, rows = answers.segment(str(source), checkpoints['tiny_segmentation'], 'cpu')
    start(page, 'Segment', source)
    page.wait_for(f'document.querySelectorAll("#classes img").length === {1 + len(marks)}')
    assert texts(page, '#classes .legend-item') == list(colours)
    page.wait_for(f'document.querySelector("{panel("segment")}").innerText.includes({json.dumps(rows[0][1])})')
    told = ' '.join(texts(page, panel('segment')))
    assert all(name in told and share in told for name, share in rows)


def test_gates_and_ranks_of_each_layer_are_shown(page, tmp_path):
    source = save_dark(tmp_path / 'inside.png')
    drawn, rows, note = answers.look_inside(str(source), 'tiny', 'product', Models())
    start(page, 'Look inside', source)
    page.wait_for(f'document.querySelectorAll("#gates img").length >= {len(drawn)}', 120)
    page.wait_for(f'document.querySelector("{panel("look")}").innerText.includes({json.dumps(rows[-1][4])})')
    told = ' '.join(texts(page, panel('look')))
    assert all(row[0] in told and row[4] in told for row in rows) and note in told


@pytest.mark.parametrize('tab', TABS)
def test_a_file_that_is_no_picture_or_too_large_is_refused_by_its_name_and_without_the_folder(page, tmp_path, tab):
    words, huge = tmp_path / f'words_{TABS[tab]}.png', tmp_path / f'huge_{TABS[tab]}.png'
    words.write_text('no picture at all')
    chunks = (b'IHDR' + struct.pack('>IIBBBBB', 100000, 100000, 8, 2, 0, 0, 0), b'IDAT' + zlib.compress(bytes(100)))
    packed = (struct.pack('>I', len(part) - 4) + part + struct.pack('>I', zlib.crc32(part)) for part in chunks)
    huge.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(packed))
    for path, said in ((words, f'{words.name}: '), (huge, f'{huge.name}: has 100000 x 100000 pixels')):
        start(page, tab, path)
        page.wait_for(f'document.body.innerText.includes({json.dumps(said)})')
    assert 'uploads' not in page.text() and str(tmp_path) not in page.text()


def test_each_part_has_a_name_for_screen_readers_and_keys_reach_it(page):
    for tab, button in TABS.items():
        choose_tab(page, tab)
        names = page.names()
        for told in (*(('tab', name) for name in TABS), ('button', tab), *TOLD[tab]):
            assert told in names, told
        page.evaluate('document.querySelector("[role=tab][aria-selected=true]").focus()')
        reached = set()
        for _ in range(30):
            page.press('Tab')
            reached.add(page.evaluate('document.activeElement.id'))
        assert button in reached


def test_app_py_runs_as_it_is(tmp_path, forker):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    root = Path(app.__file__).parents[2]
    env = {**os.environ, 'SAGA_MM_DEMO': f'--port {port}', 'TMPDIR': str(tmp_path)}
    page = forker.start(root / 'app.py', cwd=root, env=env)
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=30) as answer:
                    assert answer.status == 200 and b'saga_mm' in answer.read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail('it does not answer')
        assert page.written('out').startswith(f'http://0.0.0.0:{port} ')
    finally:
        page.send_signal(signal.SIGINT)
    page.wait()
    # what visitors sent is gone
    assert not list(tmp_path.glob('saga_mm-page-*'))


def test_a_phone_sees_all_of_it_without_scrolling_sideways(browser, server, tmp_path):
    widths = '[innerWidth, document.documentElement.scrollWidth].join()'
    with browser.open(f'{server.address}/', size=(390, 844)) as phone:
        phone.wait_for('document.getElementById("enhance")')
        assert phone.evaluate(widths) == '390,390'
        phone.evaluate('[...document.querySelectorAll("[role=tab]")].at(-1).click()')
        phone.wait_for('document.querySelector("[role=tabpanel]:has(#look) .photo input[type=file]")')
        phone.choose('[role=tabpanel]:has(#look) .photo input[type=file]', [save_dark(tmp_path / 'photo.png')])
        phone.wait_for('document.querySelector("[role=tabpanel]:has(#look) .photo").innerText.includes("photo")')
        phone.evaluate('document.getElementById("look").click()')
        phone.wait_for('document.querySelector("#gates img") && document.body.innerText.includes("encoder 3.1")')
        assert phone.evaluate(widths) == '390,390'


def test_the_page_asks_no_other_server(browser, server):
    browser.events.clear()
    with browser.open(f'{server.address}/', network=True) as page:
        page.wait_for('document.getElementById("enhance")')
    asked = [e['params']['request']['url'] for e in browser.events if e.get('method') == 'Network.requestWillBeSent']
    assert len(asked) > 5
    assert not [url for url in asked if not url.startswith((server.address, 'data:', 'blob:'))]


@pytest.mark.parametrize(
    'route', ['/gradio_api/file=', '/file=', '/gradio_api/file/', '/static/', '/assets/', '/theme/']
)
@pytest.mark.parametrize(
    'path', ['/etc/passwd', '../../../../../../etc/passwd', '%2e%2e/%2e%2e/%2e%2e/etc/passwd', 'app.py']
)
def test_no_file_of_the_server_is_given_away(server, route, path):
    status, content = server.ask(route + path)
    assert status in (400, 403, 404)
    assert b'root:' not in content and b'saga_mm.pages' not in content


def send(server, name: str, content: bytes) -> tuple[int, bytes]:
    body = f'--border\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body += content + b'\r\n--border--\r\n'
    return server.ask('/gradio_api/upload', body, 'multipart/form-data; boundary=border')


def call_enhance(server, path: str) -> bytes:
    """What the server says of a photograph at a path, as a client that is no browser may name it."""
    number = next(number for number, function in server.page.fns.items() if function.api_name == 'enhance')
    file = {'path': path, 'meta': {'_type': 'gradio.FileData'}, 'orig_name': 'photo.png'}
    call = {'data': [file, 'tiny', 1.0, True, 0.45, 1.0], 'fn_index': number, 'session_hash': 'test'}
    status, content = server.ask('/gradio_api/queue/join?', json.dumps(call).encode())
    assert status == 200, content
    return server.ask('/gradio_api/queue/data?session_hash=test')[1]


def test_a_path_in_place_of_an_upload_is_refused(server, tmp_path):
    photo = save_dark(tmp_path / 'photo.png')
    (uploaded,) = json.loads(send(server, 'photo.png', photo.read_bytes())[1])
    assert b'"success":true' in call_enhance(server, uploaded)
    # a file of the server that would do, one that would not, and an address
    for path in (str(photo), '/etc/hostname', 'http://127.0.0.1:1/photo.png'):
        answer = call_enhance(server, path)
        assert b'"success":false' in answer and b'photo_enhanced.png' not in answer


def test_an_upload_that_is_too_large_is_refused(server):
    assert send(server, 'a.png', bytes(1000))[0] == 200
    assert send(server, 'a.png', bytes(LIMIT + 1000))[0] in (400, 413)
