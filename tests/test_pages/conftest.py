"""A browser, and the built page on a server, where both are there."""

import hashlib
import json
import runpy
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config

ROOT = Path(__file__).parents[2]
TESTS = ROOT / 'tests'
CHROMIUM = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('chromium.py'))))


@pytest.fixture(scope='session')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A Chromium; see ``chromium.py``."""
    program = CHROMIUM.find_browser()
    if program is None:
        pytest.skip('no Chromium is installed (apt-get install chromium)')
    with CHROMIUM.Chromium(program, tmp_path_factory.mktemp('browser')) as browser:
        yield browser


class Site:
    """The built page on a server that notes what it was asked for. Its own files come from ``page/``.

    Attributes:
        address: Of the page.
        asked: Method and path of each request.
    """

    def __init__(self, sources: Path, built: Path) -> None:
        asked = self.asked = []

        class Handler(SimpleHTTPRequestHandler):
            def translate_path(self, path: str) -> str:
                name = Path(super().translate_path(path)).relative_to(self.directory)
                return str(next(p for p in (sources / name, built / name) if p.is_file() or p.parent == built))

            def log_message(self, *_: object) -> None:
                asked.append((self.command, self.path))

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(built)))
        self.address = f'http://127.0.0.1:{self.server.server_port}/index.html'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope='session')
def site() -> Iterator[Site]:
    """The page on a server, if it was built from the graphs and weights at hand."""
    built = ROOT / 'build' / 'page'
    if not (built / 'made-of.json').is_file():
        pytest.skip('the page is not built (make page)')
    made_of = json.loads((built / 'made-of.json').read_text())
    inputs = runpy.run_path(str(ROOT / 'page' / 'build.py'))['inputs']()
    model = {name: path for name, path in inputs.items() if name.startswith(('graphs', 'weights'))}
    if any(hashlib.sha256(path.read_bytes()).hexdigest() != made_of.get(name) for name, path in model.items()):
        pytest.skip('the page was built of other graphs or weights (make page)')
    site = Site(ROOT / 'page', built)
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    """Random weights of the tiny configs."""
    pytest.importorskip('mmdet')
    pytest.importorskip('mmseg')
    folder, made = tmp_path_factory.mktemp('checkpoints'), {}
    for name in ('tiny', 'tiny_segmentation'):
        path = folder / f'{name}.pth'
        torch.manual_seed(0)
        torch.save({'state_dict': build_model(load_config(TESTS / f'{name}.py')).state_dict()}, path)
        made[name] = (str(TESTS / f'{name}.py'), str(path))
    return made
