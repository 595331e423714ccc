"""The names for use from Python, and what importing them needs."""

import subprocess
import sys

import pytest

from saga_mm import apis

LIGHT = """
import sys
import saga_mm.apis
heavy = ('mmcv', 'mmdet', 'mmseg', 'cv2', 'matplotlib.pyplot', 'openvino', 'triton')
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize('name', apis.__all__)
def test_every_name_is_there(name):
    assert callable(getattr(apis, name))


def test_what_is_not():
    with pytest.raises(AttributeError, match="has no attribute 'Absent'"):
        apis.Absent  # noqa: B018


def test_importing_is_light():
    done = subprocess.run([sys.executable, '-c', LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'
