import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('argcomplete')

LIGHT = """
import os, sys
from saga_mm.cli.main import main
end = os._exit
os._exit = lambda status: end(3 if {'torch', 'numpy', 'mmengine'} & set(sys.modules) else status)
main([])
"""


def complete(tmp_path: Path, line: str) -> list[str]:
    """What a shell offers after ``line``."""
    found = tmp_path / 'found'
    asked = {'_ARGCOMPLETE': '1', '_ARGCOMPLETE_IFS': '\n', '_ARGCOMPLETE_STDOUT_FILENAME': str(found)}
    asked |= {'COMP_LINE': line, 'COMP_POINT': str(len(line)), 'COMP_TYPE': '9'}
    subprocess.run([sys.executable, '-c', LIGHT], env=os.environ | asked, cwd=tmp_path, check=True, timeout=60)
    return found.read_text().split()


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('saga-mm ex', ['export']),
        ('saga-mm enhance --ov', ['--overwrite']),
        ('saga-mm enhance --engine o', ['openvino']),
        ('saga-mm train saga_maskrcnn_', ['saga_maskrcnn_320.py', 'saga_maskrcnn_saga-fpn.py']),
        ('saga-mm train saga_maskrcnn.py --we', ['--weights']),
    ],
)
def test_a_shell_completes_verbs_options_values_and_configs(tmp_path, line, words):
    assert complete(tmp_path, line) == words


def test_files_complete_too(tmp_path):
    (tmp_path / 'my_config.py').touch()
    assert complete(tmp_path, 'saga-mm train my_') == ['my_config.py']
