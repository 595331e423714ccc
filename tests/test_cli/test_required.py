"""What is missing is refused before torch is loaded."""

import json
import subprocess
import sys

import pytest

CONFIG, LIGHT, NOTHING = 'saga_maskrcnn.py', 'saga_lowlight.py', 'checkpoint no.pth: no such file or work folder'
COMMANDS = {
    'enhance no.jpg': 'failed   no.jpg: no such picture, video or folder\n0 done, 0 skipped, 1 failed',
    'enhance no.jpg no/*.png': '2 failed:\n  no.jpg: no such picture, video or folder\n  no/*.png: no picture or video',
    'enhance there.jpg --weights no.npz': 'weights no.npz: no such file, and not among those that come with saga_mm',
    'enhance there.jpg --weights bse': '(base, lol, lol-tiny, tiny); did you mean base?',
    'enhance there.jpg --weights no.onnx': 'no.onnx: no such file',
    'enhance there.jpg --match no.jpg': '--match no.jpg: no such picture',
    'train saga_maskrcn.py': 'config saga_maskrcn.py: no such file; close names: saga_maskrcnn.py',
    'train no.py': 'config no.py: no such file; those that come with saga_mm are in /',
    f'train {CONFIG} --weights no.pth': NOTHING,
    f'train {CONFIG} --resume no.pth': NOTHING,
    'test no.py no.pth': 'config no.py: no such file',
    f'test {CONFIG} no.pth': NOTHING,
    f'predict {CONFIG} no.pth there.jpg': NOTHING,
    f'predict {CONFIG} there.pth no.jpg': 'no.jpg: no such picture or folder',
    f'predict there.pth {CONFIG} there.jpg': f'checkpoint {CONFIG}: is a config, which comes first: CONFIG CHECKPOINT',
    'predict no.onnx there.jpg': 'no.onnx: no such file',
    'check-data no.py': 'config no.py: no such file',
    'doctor --data no.py': 'config no.py: no such file',
    'export no.npz': 'weights no.npz: no such file',
    f'export {CONFIG} no.pth': NOTHING,
    'convert no.pth out.pth': 'checkpoint no.pth: no such file',
    f'publish {LIGHT} no.pth out.npz': NOTHING,
    'flops no.py': 'config no.py: no such file',
    'gates saga_pvt_tiny no.jpg': 'no.jpg: no such picture or folder',
    'gates saga_pvt_tiny no.pth there.jpg': NOTHING,
    'rank saga_pvt_tiny no.jpg': 'no.jpg: no such picture or folder',
    'report no': 'no holds no training log',
    f'demo --detect {CONFIG} no.pth': NOTHING,
}
RUN = """
import contextlib, importlib.util, io, json, sys
from saga_mm.cli import demo
from saga_mm.cli.main import main
# importing it is now an error
sys.modules['torch'] = None
demo.find_spec = lambda name: name
said = {}
for line in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            main(line.split())
        except SystemExit as stop:
            said[line] = [stop.code, out.getvalue()]
print(json.dumps(said))
"""


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp('here')
    for name in ('there.jpg', 'there.pth'):
        (folder / name).write_bytes(b'something')
    words = [sys.executable, '-c', RUN]
    done = subprocess.run(words, input=json.dumps([*COMMANDS]), cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize('line', COMMANDS)
def test_what_is_missing_is_named_without_torch(said, line):
    status, text = said[line]
    assert status == (1 if line.startswith('enhance no') else 2) and COMMANDS[line] in text
