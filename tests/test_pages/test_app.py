"""The page of ``saga-mm demo`` in a real browser, and what its server refuses."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.pages import app
from saga_mm.pages.answers import Models
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

pytest.importorskip('gradio', reason="the page needs gradio (pip install 'saga-mm[page]')")
LIMIT = 2**20


class Server:
    """The page on a free port.

    Attributes:
        address: Of the page, without a slash at the end.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.page = app.build_page(Models(look=('saga_pvt_tiny',)), folder)
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
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp('app')
    with pytest.MonkeyPatch.context() as patch:
        # what the page sets is taken back
        for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'):
            patch.setenv(name, '')
        patch.setattr(app, 'MOST_BYTES', LIMIT)
        server = Server(folder)
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


def enhance(page, path: Path) -> None:
    """Choose a file and press the button."""
    page.evaluate("document.querySelector(\".photo button[aria-label='Clear'], .photo [title='Clear']\")?.click()")
    page.wait_for('document.querySelector(".photo input[type=file]")')
    page.choose('.photo input[type=file]', [path])
    page.wait_for(f'document.querySelector(".photo").innerText.replaceAll("\\n", "").includes({json.dumps(path.stem)})')
    page.evaluate('document.getElementById("enhance").click()')


def test_a_photograph_is_enhanced_and_downloaded_as_python_writes_it(page, tmp_path):
    source = save_dark(tmp_path / 'photo.png')
    enhance(page, source)
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


def test_a_file_that_is_no_picture_is_refused_by_its_name_and_without_the_folder(page, tmp_path):
    (tmp_path / 'words.png').write_text('no picture at all')
    enhance(page, tmp_path / 'words.png')
    page.wait_for('document.body.innerText.includes("words.png: ")')
    assert 'uploads' not in page.text() and str(tmp_path) not in page.text()


def test_each_part_has_a_name_for_screen_readers_and_keys_reach_it(page):
    names = page.names()
    for told in (
        ('tab', 'Enhance'),
        ('tab', 'Look inside'),
        ('button', 'Enhance'),
        ('slider', 'range slider for Strength'),
    ):
        assert told in names, told
    page.evaluate('document.querySelector("[role=tab]").focus()')
    reached = set()
    for _ in range(25):
        page.press('Tab')
        reached.add(page.evaluate('document.activeElement.id'))
    assert {'enhance', 'download'} <= reached


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
    call = {'data': [file, 'tiny', 1.0], 'fn_index': number, 'session_hash': 'test'}
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
