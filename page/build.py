"""Build the page that brightens photographs in a browser, as a folder of static files.

usage: python page/build.py [FOLDER]          (build/page unless given)

The folder holds the page, the weights as ONNX graphs, and ONNX Runtime from its npm package, whose SHA-512 is checked
and which is kept in build/npm. Nothing is done where the folder is up to date.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from saga_mm.errors import SagaError
from saga_mm.export import strip_graphs, strip_modules
from saga_mm.files import locked_folder, write_file
from saga_mm.models.enhancement.weight_files import find_weights, load_weights
from saga_mm.onnx.strip_model import StripModel
from saga_mm.pages.uploads import NIGHT, dark_sample
from saga_mm.version import __version__

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCES = ('index.html', 'style.css', 'main.js', 'worker.js', 'strips.js', 'picture.js')
WEIGHTS = 'tiny'
VERSION = '1.30.0'
PACKAGE = f'onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz'
# as npm publishes it, in hexadecimal
SHA512 = (
    'ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca'
    '590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61'
)
RUNTIME = ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
TIMEOUT = 60
# of the graphs from Python's answer, in grey levels
TOLERANCE = 2


def build(folder: Path) -> bool:
    """Make the folder unless it is up to date; whether something was done.

    Raises:
        SagaError: The npm package cannot be fetched or is another one, or the graphs do not answer as Python does.
    """
    stamp = folder / 'made-of.json'
    before = json.loads(stamp.read_text()) if stamp.is_file() else {}
    made_of = {name: _digest(path) for name, path in inputs().items()}
    if before == made_of:
        return False
    part = folder.with_name(f'{folder.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    for name in SOURCES:
        write_file(part / name, (HERE / name).read_bytes())
    for name, content in runtime_files(ROOT / 'build' / 'npm').items():
        write_file(part / 'ort' / name, content)
    if all(before.get(name) == made_of[name] for name in made_of if name.startswith(('graphs', 'weights'))):
        shutil.copytree(folder / 'model', part / 'model')
    else:
        for name, content in checked_graphs().items():
            write_file(part / 'model' / name, content)
    write_file(part / 'sample.jpg', dark_sample())
    write_file(part / stamp.name, json.dumps(made_of, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    return True


def runtime_files(cache: Path) -> dict[str, bytes]:
    """ONNX Runtime's files by name, of the npm package in the cache; it is fetched if it is not there.

    Raises:
        SagaError: It cannot be fetched, or is not the package that this was written for.
    """
    archive = cache / PACKAGE.rpartition('/')[2]
    if not archive.is_file():
        registry = os.environ.get('NPM_CONFIG_REGISTRY', 'https://registry.npmjs.org').rstrip('/')
        address = f'{registry}/{PACKAGE}'
        print(f'fetching {address}', flush=True)
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
                content = answer.read()
        except OSError as error:
            raise SagaError(f'{address}: cannot be fetched ({error}); the page needs it once') from error
        _require(content, address)
        write_file(archive, content)
    content = archive.read_bytes()
    _require(content, str(archive))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {name: tar.extractfile(f'package/dist/{name}').read() for name in RUNTIME}


def checked_graphs() -> dict[str, bytes]:
    """The plan and the graphs of the weights by file name, once they answer as Python does, in strips of any height."""
    net = load_weights(WEIGHTS)
    plan, files = strip_graphs.strip_files(net)
    model = StripModel(plan, files)
    image = np.random.default_rng(0).integers(0, 60, (75, 61, 3), np.uint8)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    for rows, brightness in ((1, None), (3, 0.3), (100, None)):
        wanted = None if brightness is None else torch.tensor([brightness])
        with torch.no_grad():
            expected = net.answer(unit, wanted)[0].permute(1, 2, 0).numpy()
        difference = 255 * np.abs(model(image, rows, brightness) - expected).max()
        if difference > TOLERANCE:
            raise SagaError(f'{WEIGHTS}: strips of {rows} rows differ from Python by {difference:.1f} grey levels')
    described = {**plan, 'weights': WEIGHTS, 'version': __version__}
    return {**files, 'plan.json': json.dumps(described, indent=1).encode()}


def inputs() -> Mapping[str, Path]:
    """What the folder is made of, as far as it changes; layers are covered by the check against Python."""
    sources = {f'page/{name}': HERE / name for name in (*SOURCES, 'build.py')}
    graphs = {f'graphs of {path.stem}': path for path in map(Path, (strip_graphs.__file__, strip_modules.__file__))}
    photo = {'sample': Path(str(NIGHT))} if NIGHT.is_file() else {}
    return {**sources, **photo, 'weights': find_weights(WEIGHTS), **graphs}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require(content: bytes, where: str) -> None:
    if hashlib.sha512(content).hexdigest() != SHA512:
        raise SagaError(f'{where}: is not onnxruntime-web {VERSION} as published (SHA-512 differs); remove it')


def main(argv: list[str]) -> int:
    if {'-h', '--help'} & set(argv) or len(argv) > 1:
        print(__doc__)
        return 0 if len(argv) == 1 else 2
    folder = Path(argv[0] if argv else ROOT / 'build' / 'page').absolute()
    try:
        with locked_folder(folder.parent, f'{folder}: another process builds it; wait until it is done'):
            made = build(folder)
    except SagaError as error:
        print(f'page/build.py: {error}', file=sys.stderr)
        return 1
    print(f'{folder}: {"built" if made else "up to date"}. To look at it: python page/serve.py {folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
