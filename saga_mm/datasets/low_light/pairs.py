"""Data sets for low-light enhancement: pairs, bright pictures alone, or dark pictures alone."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from saga_mm.datasets.checks.problems import Problems, short_list
from saga_mm.errors import SagaError
from saga_mm.images.picture_folders import find_images
from saga_mm.registry import DATASETS
from saga_mm.text_files import read_json

from .layouts import Pair, Pairing, find_pairs, natural, without_suffix

SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class PairedLowLightDataset(BaseDataset):
    """Dark pictures with their bright ones, for training and for measuring.

    Records have ``img_path`` and ``gt_path``; with ``low=None`` only the latter: a folder of good photographs for a
    pipeline that makes the dark version (``SynthesizeLowLight``).

    Args:
        data_root: Folder of the data set.
        low: Folder of the dark pictures, in ``data_root`` or absolute; None for bright pictures alone.
        high: Folder of the bright pictures.
        layout: ``'lol_v1'``, ``'lol_v2_real'``, ``'lol_v2_synthetic'``, or ``'uhd_ll'``: the folders of
            that public data set, in place of ``low`` and ``high``. See
            :func:`~saga_mm.datasets.low_light.layouts.find_pairs`, also for how names are matched.
        scene_groups: JSON file, in ``data_root`` or absolute, that gives each file a group: ``{"2.png": 0, ...}``.
            Suffixes do not count. Pictures of one scene belong to one group, so that none is on both sides of
            ``hold_out``. Without it each pair is a group of its own, named as its dark file without the suffix.
        hold_out: Groups to hold out of training: their names, or how many to draw. None: none.
        hold_out_seed: The seed of that draw.
        split: ``'train'``: what is not held out. ``'val'``: what is held out. ``'test'``: the layout's test part.
        **kwargs: Of mmengine's ``BaseDataset``: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        SagaError: Folders, partners or groups are missing, or the options contradict each other.
    """

    def __init__(
        self,
        data_root: str,
        low: str | None = 'low',
        high: str = 'high',
        layout: str | None = None,
        scene_groups: str | None = None,
        hold_out: int | Sequence[int | str] | None = None,
        hold_out_seed: int = 0,
        split: str = 'train',
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise SagaError(f'split must be one of {", ".join(SPLITS)}, not {split!r}.')
        if split == 'val' and hold_out is None:
            raise SagaError(
                f"{data_root}: split='val' is what hold_out keeps from training. Set hold_out, or name the folders of "
                "the validation pictures with split='train'."
            )
        if layout is not None and low is None:
            raise SagaError(f'{data_root}: low=None takes no layout. Name the folder of bright pictures as high.')
        self.low, self.high, self.layout = low, high, layout
        self.scene_groups, self.hold_out, self.hold_out_seed = scene_groups, hold_out, hold_out_seed
        self.split = split
        super().__init__(data_root=str(Path(data_root).expanduser()), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record for each pair.

        Raises:
            SagaError: As the class; also if dark pictures have no partner.
        """
        found = self.find()
        problems = Problems(self.data_root)
        note_alone(found, problems)
        problems.raise_any()
        records = ({'img_path': pair.low, 'gt_path': pair.high} for pair in found.pairs)
        return [{key: path for key, path in record.items() if path is not None} for record in records]

    def find(self) -> Pairing:
        """The pairs of this split, and pictures without a partner."""
        test = self.split == 'test'
        found = find_pairs(self.data_root, self.low, self.high, self.layout, test)
        if self.hold_out is None or test or not found.pairs:
            return found
        pairs = found.pairs if self.scene_groups is None else self._grouped(found.pairs)
        held = self._held_out(pairs)
        pairs = [pair for pair in pairs if (pair.scene in held) == (self.split == 'val')]
        if not pairs:
            raise SagaError(f'{self.data_root}: has no picture in split={self.split!r}. Hold out fewer groups.')
        return found._replace(pairs=pairs)

    def _grouped(self, pairs: list[Pair]) -> list[Pair]:
        path = Path(self.data_root, Path(self.scene_groups).expanduser())
        groups = read_scene_groups(path)
        absent = [pair.name for pair in pairs if pair.name not in groups]
        if absent:
            raise SagaError(f'{path}: gives no group to {short_list(absent, 3)}. Add them, each to its scene.')
        return [pair._replace(scene=groups[pair.name]) for pair in pairs]

    def _held_out(self, pairs: list[Pair]) -> set[str]:
        scenes = sorted({pair.scene for pair in pairs}, key=natural)
        if isinstance(self.hold_out, int):
            if not 1 <= self.hold_out < len(scenes):
                raise SagaError(
                    f'{self.data_root}: hold_out={self.hold_out} must be from 1 to {len(scenes) - 1}, as there are '
                    f'{len(scenes)} groups; None holds none out.'
                )
            order = np.random.default_rng(self.hold_out_seed).permutation(len(scenes))
            return {scenes[index] for index in order[: self.hold_out]}
        held = {str(group) for group in self.hold_out}
        unknown = sorted(held - set(scenes))
        if unknown or not held:
            what = f'names {short_list(unknown, 3)}, which are no groups' if unknown else 'is empty'
            raise SagaError(f'{self.data_root}: hold_out {what}. Groups are {short_list(scenes, 5)}.')
        return held


@DATASETS.register_module()
class UnpairedDataset(BaseDataset):
    """Pictures to enhance, without answers; records have ``img_path``.

    Args:
        data_root: A folder, searched with the folders in it, or one picture.
        **kwargs: Of mmengine's ``BaseDataset``: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        SagaError: There is no picture.
    """

    def __init__(self, data_root: str, **kwargs) -> None:
        super().__init__(data_root=str(Path(data_root).expanduser()), **kwargs)

    def load_data_list(self) -> list[dict]:
        return [{'img_path': str(path)} for path in find_images(self.data_root)]


def note_alone(found: Pairing, problems: Problems) -> None:
    """Note dark pictures without a bright one."""
    cure = 'Names must be the same but for the suffix or a word such as low and normal, once on each side.'
    for path in found.only_low:
        problems.add('dark picture without a bright partner', cure, path)


def read_scene_groups(path: str | Path) -> dict[str, str]:
    """Name of the group of each file, by its name without the suffix.

    Raises:
        SagaError: The file cannot be read, is of another form, or gives one name two groups.
    """
    form = 'It should be JSON that gives each file a group: {"2.png": 0, "5.png": 1}.'
    try:
        content = read_json(path)
    except SagaError as error:
        raise SagaError(f'{error} {form}') from error
    if not isinstance(content, dict) or not all(isinstance(group, (int, str)) for group in content.values()):
        raise SagaError(f'{path}: is of another form. {form}')
    groups = defaultdict(set)
    for name, group in content.items():
        groups[without_suffix(name)].add(str(group))
    torn = [name for name, found in groups.items() if len(found) > 1]
    if torn:
        raise SagaError(f'{path}: gives {short_list(torn, 3)} two groups. Leave one.')
    return {name: found.pop() for name, found in groups.items()}
