"""The demo data: a small instance-segmentation data set, made at first use from photographs that scikit-image ships."""

import inspect
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError

from .draw import Scene, draw_scene
from .made_folder import make_once
from .outlines import DEMO_CLASSES
from .photos import check_args, make_demo_photos, read_sample_photo, write_png

# Raised whenever the same arguments would give other pixels, so that old data is made anew.
VERSION = 4
# All of them lie inside the scikit-image wheel, and no photograph serves both splits.
PHOTOS = {
    'train': (
        'astronaut.png',
        'coffee.png',
        'camera.png',
        'brick.png',
        'grass.png',
        'ihc.png',
        'gravel.png',
        'hubble_deep_field.jpg',
    ),
    'val': ('chelsea.png', 'rocket.jpg'),
}
PARTS = {'train': 'training', 'val': 'validation'}
README = """Demo data of saga_mm: overlapping shapes, {counts}.
Safe to delete: it is made again when needed. Made with the settings in meta.json.

images       pictures of {height} x {width} pixels
annotations  COCO format: boxes and run-length masks of the visible parts, holes are holes
semantic     the same as class maps: {values}

The shapes are drawn by the program. The photographs behind and inside them come with scikit-image, whose documentation
lists them as public domain, CC0 or without known copyright restrictions; no photograph is in both parts:
train: {train}
val: {val}
"""


def make_demo_shapes(
    root: str | Path, num_train: int = 300, num_val: int = 60, size: int = 256, seed: int = 0, progress: bool = True
) -> Path:
    """Make the data set of overlapping shapes, unless it is there already.

    Writes ``images/{train,val}/*.png``, ``annotations/instances_{train,val}.json`` (COCO, RLE masks),
    ``semantic/{train,val}/*.png`` (class maps), ``README.txt`` and ``meta.json``. Picture ``i`` of a split depends on
    ``seed``, ``size`` and ``i`` alone. The folder appears all at once, so a killed run leaves no half data set, and a
    second process waits for the first and then finds it.

    Args:
        root: Folder to make. If it holds demo data of other arguments, that is replaced.
        num_train: Number of training pictures, from 1 up.
        num_val: Number of validation pictures, from 1 up.
        size: Height and width in pixels, 64 to 4096.
        seed: Any integer from 0 up.
        progress: Show a bar, and say what is done.

    Returns:
        The folder.

    Raises:
        SagaError: An argument is out of range, ``root`` holds something else than demo data, it cannot be written, or
            the photographs are missing.
    """
    args = {'num_train': num_train, 'num_val': num_val, 'size': size, 'seed': seed}
    _check_args(args)
    meta = {'generator': 'saga_mm demo shapes', 'version': VERSION, 'arguments': args}
    fill = partial(_fill, counts={'train': num_train, 'val': num_val}, size=size, seed=seed, progress=progress)
    return make_once(root, meta, fill, announce=progress)


def make_demo_shapes_large(
    root: str | Path, num_val: int = 4, height: int = 1024, width: int = 2048, seed: int = 0, progress: bool = True
) -> Path:
    """Make large pictures for evaluation, unless they are there already.

    Their shapes are as large and as dense as those of :func:`make_demo_shapes` at its usual size, so there are many.
    Files and folders are the same, with a validation part alone.

    Args:
        root: Folder to make. If it holds such data of other arguments, that is replaced.
        num_val: Number of pictures, from 1 up.
        height: In pixels, a multiple of 256 up to 4096.
        width: In pixels, a multiple of 256 up to 4096.
        seed: Any integer from 0 up.
        progress: Show a bar, and say what is done.

    Returns:
        The folder.

    Raises:
        SagaError: As :func:`make_demo_shapes`.
    """
    args = {'num_val': num_val, 'height': height, 'width': width, 'seed': seed}
    _check_args(args)
    meta = {'generator': 'saga_mm large demo shapes', 'version': VERSION, 'arguments': args}
    fill = partial(_fill, counts={'val': num_val}, size=(height, width), seed=seed, progress=progress)
    return make_once(root, meta, fill, announce=progress)


def ensure_demo_data(spec: dict) -> None:
    """Make the demo data that a config asks for, if it is not there yet.

    Args:
        spec: ``dict(type='shapes', root='data/demo_shapes', ...)``; the other keys are arguments of the maker, for
            ``'shapes'`` those of :func:`make_demo_shapes`, for ``'photos'`` those of
            :func:`~saga_mm.datasets.demo.photos.make_demo_photos`.

    Raises:
        SagaError: The type or an argument is unknown, or the maker fails.
    """
    args = dict(spec) if isinstance(spec, dict) else {}
    kind = args.pop('type', None)
    if not isinstance(kind, str) or kind not in MAKERS:
        raise SagaError(f"demo_data must be a dict with a 'type' out of {sorted(MAKERS)}, not {spec!r}.")
    known = list(inspect.signature(MAKERS[kind]).parameters)
    unknown = sorted(map(repr, set(args) - set(known)))
    if unknown or not isinstance(args.get('root'), (str, Path)):
        problem = f'does not know {", ".join(unknown)}' if unknown else "needs 'root', the folder to make"
        raise SagaError(f'demo_data of type {kind!r} {problem}. Its keys are {", ".join(known)}.')
    # of several training processes one speaks
    args.setdefault('progress', os.environ.get('RANK', '0') == '0')
    MAKERS[kind](**args)


MAKERS: dict[str, Callable[..., Path]] = {
    'photos': make_demo_photos,
    'shapes': make_demo_shapes,
    'shapes_large': make_demo_shapes_large,
}


def _check_args(args: dict[str, int]) -> None:
    check_args(args, {'size': (64, 4096), 'height': (256, 4096), 'width': (256, 4096), 'seed': (0, 2**63)})
    for name in ('height', 'width'):
        if args.get(name, 0) % 256:
            raise SagaError(f'Demo data: {name} must be a multiple of 256, not {args[name]}.')


def _fill(folder: Path, counts: dict[str, int], size: int | tuple[int, int], seed: int, progress: bool) -> None:
    photos = {split: [read_sample_photo(name) for name in PHOTOS[split]] for split in counts}
    jobs = [(split, i) for split, count in counts.items() for i in range(count)]
    for split in counts:
        for kind in ('images', 'semantic'):
            (folder / kind / split).mkdir(parents=True)
    (folder / 'annotations').mkdir()

    records = {split: _empty_coco(split) for split in counts}
    for split, index in progress_bar(jobs, len(jobs), 'demo data', progress):
        rng = np.random.default_rng([seed, list(PHOTOS).index(split), index])
        scene = draw_scene(rng, photos[split], size)
        name = f'{index:06d}.png'
        write_png(folder / 'images' / split / name, scene.image)
        write_png(folder / 'semantic' / split / name, scene.semantic())
        _add_to_coco(records[split], name, scene)
    for split, record in records.items():
        text = json.dumps(record, separators=(',', ':'))
        (folder / 'annotations' / f'instances_{split}.json').write_text(text, encoding='utf-8')

    height, width = (size, size) if isinstance(size, int) else size
    text = README.format(
        counts=' and '.join(f'{count} {PARTS[split]} pictures' for split, count in counts.items()),
        height=height,
        width=width,
        values=', '.join(f'{i} {name}' for i, name in enumerate(('background', *DEMO_CLASSES))),
        **{split: ', '.join(files) for split, files in PHOTOS.items()},
    )
    (folder / 'README.txt').write_text(text, encoding='utf-8')


def _empty_coco(split: str) -> dict:
    return {
        'info': {'description': f'saga_mm demo shapes, {split}', 'version': str(VERSION), 'contributor': 'saga_mm'},
        'licenses': [{'id': 1, 'name': 'CC0 1.0', 'url': 'https://creativecommons.org/publicdomain/zero/1.0/'}],
        'images': [],
        'annotations': [],
        'categories': [{'id': i, 'name': name, 'supercategory': 'shape'} for i, name in enumerate(DEMO_CLASSES, 1)],
    }


def _add_to_coco(record: dict, name: str, scene: Scene) -> None:
    from pycocotools import mask as coco_mask

    image_id = len(record['images']) + 1
    height, width = scene.instances.shape
    record['images'].append({'id': image_id, 'file_name': name, 'width': width, 'height': height, 'license': 1})
    for index, label in enumerate(scene.labels, 1):
        rle = coco_mask.encode(np.asfortranarray(scene.instances == index, dtype=np.uint8))
        record['annotations'].append(
            {
                'id': len(record['annotations']) + 1,
                'image_id': image_id,
                'category_id': label + 1,
                'segmentation': {'size': [height, width], 'counts': rle['counts'].decode('ascii')},
                'area': int(coco_mask.area(rle)),
                'bbox': coco_mask.toBbox(rle).tolist(),
                'iscrowd': 0,
            }
        )
