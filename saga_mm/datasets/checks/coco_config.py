"""Check the COCO data sets that a config names."""

import os.path as osp
from collections.abc import Iterator, Mapping, Sequence

from saga_mm.errors import SagaError
from saga_mm.text_files import read_text

from .coco import CocoSummary, check_coco
from .problems import Problems, short_list


def check_dataset_cfg(
    dataset_cfg: dict, *, decode: bool | None = None, need_annotations: bool = True
) -> list[CocoSummary]:
    """Check every ``CocoDataset`` in a dataset config, inside wrappers too; other types are left alone.

    Paths are joined as mmengine's ``BaseDataset`` does. Masks are required where the pipeline loads them.

    Args:
        dataset_cfg: ``dict(type='CocoDataset', data_root=..., ann_file=..., data_prefix=dict(img=...), metainfo=...)``,
            or a wrapper with ``dataset`` or ``datasets``, such as ``RepeatDataset`` or ``ConcatDataset``.
        decode: See :func:`~saga_mm.datasets.checks.coco.check_coco`.
        need_annotations: Refuse files without annotations; False for a test set whose labels are not public.

    Returns:
        One summary per data set, in order. Data on remote storage is not looked at.

    Raises:
        SagaError: Something is missing or wrong in the files, or they do not fit ``metainfo['classes']``.
    """
    summaries = []
    for cfg in _coco_datasets(dataset_cfg):
        ann_file, images = coco_paths(cfg)
        if on_remote_storage(cfg, ann_file, images):
            continue
        classes = coco_classes(cfg)
        summary = check_coco(
            ann_file,
            images,
            decode=decode,
            need_masks=loads_masks(cfg),
            need_annotations=need_annotations,
            ignore_orientation=ignores_orientation(cfg),
            filter_cfg=filter_of(cfg),
            classes=classes,
        )
        if classes is not None:
            problems = Problems(ann_file)
            check_classes(list(summary.per_class), classes, problems, cfg.get('test_mode', False))
            problems.raise_any()
            if need_annotations and not any(summary.per_class.get(name) for name in classes):
                raise SagaError(f'{ann_file} has no annotation of the classes {short_list(classes)} of metainfo.')
        summaries.append(summary)
    return summaries


def loads_masks(cfg: Mapping) -> bool:
    """Whether a detection pipeline asks for masks."""
    return any(type_name(step) == 'LoadAnnotations' and step.get('with_mask') for step in pipeline_steps(cfg))


def filter_of(cfg: Mapping) -> Mapping | None:
    """Which images mmdet leaves out of a data set; nothing where it only evaluates."""
    return None if cfg.get('test_mode') else cfg.get('filter_cfg')


def ignores_orientation(cfg: Mapping) -> bool:
    """Whether a pipeline loads images without turning them upright by their EXIF tag."""
    return any('ignore_orientation' in str(step.get('color_type', '')) for step in pipeline_steps(cfg))


def pipeline_steps(cfg: Mapping) -> list[Mapping]:
    """The steps of a data set's pipeline."""
    return [step for step in cfg.get('pipeline') or [] if isinstance(step, Mapping)]


def type_name(cfg: Mapping) -> str:
    """The name in ``type``, without a scope."""
    kind = cfg.get('type', '')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _coco_datasets(cfg: object) -> Iterator[Mapping]:
    if not isinstance(cfg, Mapping):
        return
    if type_name(cfg) == 'CocoDataset':
        yield cfg
        return
    for inner in (cfg.get('dataset'), *(cfg.get('datasets') or ())):
        yield from _coco_datasets(inner)


def coco_paths(cfg: Mapping) -> tuple[str, str]:
    """The annotation file and the image folder of a ``CocoDataset``.

    Raises:
        SagaError: One is missing or no path, or the data root does not exist.
    """
    root = cfg.get('data_root') or ''
    prefix = cfg.get('data_prefix') or {}
    given = {
        'data_root': root,
        'ann_file': cfg.get('ann_file') or '',
        "data_prefix['img']": prefix.get('img', '') if isinstance(prefix, Mapping) else prefix,
    }
    for key, value in given.items():
        if not isinstance(value, str):
            raise SagaError(f'{key} of a CocoDataset must be a string, not {value!r}. Correct it in the config.')
    _, ann_file, images = given.values()
    if not ann_file:
        raise SagaError(f"A CocoDataset (data_root '{root}') has no ann_file. Name its annotation file in the config.")
    needed = root and '://' not in root and not (_is_absolute(ann_file) and _is_absolute(images))
    if needed and not osp.isdir(root):
        raise SagaError(
            f'Data root {root} does not exist. Put the data there, or set data_root to the folder that has {ann_file}.'
        )
    ann_file, images = (path if _is_absolute(path) else osp.join(root, path) for path in (ann_file, images))
    return ann_file, images


def _is_absolute(path: str) -> bool:
    return osp.isabs(path) or '://' in path


def on_remote_storage(cfg: Mapping, *paths: str) -> bool:
    """Whether a data set is on storage that is no file system."""
    backend = (cfg.get('backend_args') or {}).get('backend', 'local')
    return backend != 'local' or any('://' in path for path in paths)


def coco_classes(cfg: Mapping) -> list[str] | None:
    """Class names that a ``CocoDataset`` will have; None where they cannot be known here.

    Raises:
        SagaError: ``metainfo`` names them in a way that mmdet does not understand.
    """
    metainfo = cfg.get('metainfo') or {}
    if 'CLASSES' in metainfo:
        raise SagaError("metainfo of a CocoDataset has 'CLASSES', which mmdet 3 ignores. Write 'classes' instead.")
    classes = metainfo.get('classes')
    if classes is None:
        # those of COCO, which a data set without metainfo has
        try:
            from mmdet.datasets import CocoDataset
        except ImportError:
            return None
        classes = CocoDataset.METAINFO['classes']
    if isinstance(classes, str):
        if osp.isfile(classes):
            return read_text(classes).splitlines()
        raise SagaError(f"metainfo['classes'] is the string {classes!r}. Write a tuple: ({classes!r},) with a comma.")
    if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes) or not classes:
        raise SagaError(f"metainfo['classes'] must be a tuple of names, not {classes!r}.")
    return list(classes)


def check_classes(in_file: list[str], in_config: list[str], problems: Problems, evaluates: bool = False) -> None:
    """Compare the classes of a file with those of ``metainfo``.

    Args:
        in_file: Those of the file, in any order.
        in_config: Those of ``metainfo``.
        problems: Where to note what does not fit.
        evaluates: The file may hold some of the classes alone.
    """
    both = f'The file has {short_list(in_file)}; metainfo has {short_list(in_config)}.'
    missing = [name for name in in_config if name not in in_file]
    if missing and not (evaluates and set(in_file) < set(in_config)):
        problems.add(
            f"the classes {short_list(missing)} of metainfo['classes'] are not in the file",
            f'{both} Set metainfo=dict(classes=...) to names of the file, and num_classes of the heads to their '
            'number.',
        )
    elif len(set(in_config)) < len(in_config):
        problems.add("metainfo['classes'] must list each class once", both)
