"""Libraries that only some verbs need, and how they are installed."""

from __future__ import annotations

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
    'OpenImageIO': "'saga-mm[large-images]'",
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
    'enhance': ('PIL',),
    'train': (*STACK, 'matplotlib'),
    'test': STACK,
    'predict': STACK,
    'check-data': (*STACK, 'matplotlib'),
    'export': ('onnx', 'onnxscript', 'onnxruntime'),
    'flops': ('mmengine',),
    'gates': ('mmengine', 'matplotlib', 'cv2'),
    'rank': ('mmengine', 'matplotlib', 'cv2'),
    'report': ('matplotlib', 'cv2'),
    'demo': ('gradio',),
}
PARTS = {
    'videos': ('enhance', 'av'),
    'OpenVINO': ('enhance, test and predict', 'openvino'),
    'pictures larger than memory in rare formats': ('predict', 'OpenImageIO'),
}


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of some modules that cannot be found."""
    return [name for name in names if find_spec(name) is None]


def cure(name: str) -> str | None:
    """The command that installs what is imported by this name; None if it is not known."""
    known = INSTALLS.get(name.partition('.')[0])
    return None if known is None else f'pip install {known}'
