"""Libraries that only some verbs need, and how they are installed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec

# the command behind `pip install`, by what is imported
INSTALLS = {
    'mmengine': "'saga-mm[onedl]'",
    'mmcv': "'saga-mm[onedl]'",
    'mmdet': "'saga-mm[onedl]'",
    'mmseg': "'saga-mm[onedl]'",
    'pycocotools': "'saga-mm[demo]'",
    'matplotlib': "'saga-mm[demo]'",
    'skimage': "'saga-mm[demo]'",
    'cv2': 'opencv-python-headless',
    'PIL': 'pillow',
    'av': "'saga-mm[video]'",
    'OpenImageIO': 'openimageio',
    'safetensors': 'safetensors',
    'openvino': "'saga-mm[openvino]'",
    'onnx': "'saga-mm[onnx]'",
    'onnxscript': "'saga-mm[onnx]'",
    'onnxruntime': "'saga-mm[onnx]'",
    'pytorch_msssim': "'saga-mm[low-light]'",
    'gradio': "'saga-mm[page]'",
}
# what verbs cannot do without, and what parts of them need
STACK = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'pycocotools')
NEEDS: dict[str, tuple[str, ...]] = {
    'enhance': (),
    'train': (*STACK, 'matplotlib'),
    'test': STACK,
    'predict': STACK,
    'check-data': (*STACK, 'matplotlib'),
    'export': ('onnx', 'onnxscript', 'onnxruntime'),
    'convert': (),
    'publish': ('mmengine',),
    'flops': (),
    'gates': ('matplotlib',),
    'rank': ('matplotlib',),
    'report': ('matplotlib',),
    'demo': ('gradio',),
}
PARTS = {
    'videos': ('enhance', 'av'),
    'OpenVINO': ('enhance, test and predict', 'openvino'),
}


def missing(names: Iterable[str]) -> list[str]:
    """Those of some modules that cannot be found."""
    return [name for name in names if find_spec(name) is None]


def cure(names: Iterable[str]) -> str:
    """The one command that installs what is imported by these names, each of :data:`INSTALLS`."""
    wanted = list(dict.fromkeys(INSTALLS[name] for name in names))
    extras = [extra for each in wanted for extra in re.findall(r'\[(.+)\]', each)]
    packages = [each for each in wanted if '[' not in each]
    return ' '.join(['pip install', *([f"'saga-mm[{','.join(extras)}]'"] if extras else []), *packages])
