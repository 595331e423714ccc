"""What is special about low-light enhancement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.console import is_speaker, say
from saga_mm.errors import SagaError
from saga_mm.tasks.own_data import OwnData, evaluators_of, leaf_datasets, only_dataset
from saga_mm.tasks.task import Task

if TYPE_CHECKING:
    from mmengine.config import Config

DARKEN = 'SynthesizeLowLight'
# steps of a pipeline that do not look at the dark picture, so that it may be made after them
BEFORE_DARKENING = ('LoadPair', 'PairRandomCrop', 'PairRandomFlip')
# of one's own pictures, one in so many is held out where none are named to evaluate on
HELD_OUT = 10


class Enhancement(Task):
    """Bright pictures of dark ones, with the models and data sets of this package."""

    name = 'low-light enhancement'
    package = 'saga_mm'
    heads = ()
    compared = ()
    sees_whole = 'an enhancer is evaluated on whole pictures'

    def use_own_data(self, cfg: Config, own: OwnData, training: bool) -> None:
        own.refuse_others(
            self.name,
            f'config {cfg.filename} enhances dark pictures; name folders with --train-low, --train-high, --val-low and '
            '--val-high, those of bright pictures alone to have them darkened',
        )
        bright = {'train_high': 'to train on', 'val_high': 'to evaluate on'}
        for part, high in (('train', 'train_high'), ('val', 'val_high')):
            if getattr(own, f'{part}_low') or (part == 'train') == training:
                own.require({high: f'the folder of the bright pictures {bright[high]}'})
        if training:
            _point(cfg, 'train_dataloader', own, 'train', own.val_high is None, 'train')
        for loader in ('val_dataloader', 'test_dataloader'):
            if cfg.get(loader) is not None:
                _point(cfg, loader, own, 'val' if own.val_high else 'train', own.val_high is None, 'val')

    def check_files(self, dataset: dict[str, Any], need_annotations: bool) -> None:
        from saga_mm.datasets.checks.low_light import check_low_light_cfg

        for leaf in leaf_datasets(dataset):
            survey = check_low_light_cfg(leaf, progress=is_speaker())
            for line in survey.warnings.lines() if survey else ():
                say(f'warning: {survey.source}: {line}')

    def threshold(self, score_thr: float | None) -> None:
        if score_thr is not None:
            raise SagaError('--score-thr: for detection; enhancement gives a picture')

    def check_predicts(self) -> None:
        raise SagaError('tools/predict.py finds objects and classes; dark pictures are enhanced by tools/enhance.py')

    def set_up_test(self, cfg: Config, out: Path | None) -> None:
        if out is None:
            return
        if out.suffix != '.json':
            raise SagaError(f'--out {out}: name a .json file for the figures; those of each picture go beside it')
        for evaluator in evaluators_of(cfg, 'test'):
            if evaluator.get('type') == 'saga_mm.EnhancementMetric':
                evaluator['out_file'] = str(_figures(out))

    def results(self, out: Path) -> list[str]:
        return [_figures(out).name] if _figures(out).is_file() else []

    def image_of(self, sample: Any, inputs: Any) -> Any:
        # a picture that was darkened on the way to the model is in no file
        return inputs.flip(0).permute(1, 2, 0).numpy()

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path, score_thr: float | None) -> None:
        from saga_mm.display.drawing import draw_beside

        pictures = {'input': image}
        for name, key in (('enhanced', 'pred_img'), ('ground truth', 'gt_img')):
            if key in sample:
                values = (sample.get(key).clamp(0, 1) * 255).round().byte()
                pictures[name] = values.permute(1, 2, 0).cpu().numpy()
        draw_beside(pictures, path)

    def usage(self, config: str, checkpoint: str) -> str:
        weights = Path(checkpoint).with_name('weights.npz')
        publish = f'python tools/publish_weights.py {config} {checkpoint} {weights}'
        return f'{publish} && python tools/enhance.py FOLDER --weights {weights}'


def _figures(out: Path) -> Path:
    """Where the figures of each picture go."""
    return out.with_suffix('.csv')


def _point(cfg: Config, loader: str, own: OwnData, part: str, hold_out: bool, split: str) -> None:
    """Set folders, hold-out and darkening of a loader's data set; ``part`` of the options says which folders."""
    low, high = (own.path(f'{part}_{side}') if getattr(own, f'{part}_{side}') else None for side in ('low', 'high'))
    dataset = only_dataset(cfg, loader)
    kept = {key: dataset[key] for key in ('pipeline', 'test_mode') if key in dataset}
    darken = [step for step in dataset['pipeline'] if _name(step) == DARKEN]
    steps = [step for step in dataset['pipeline'] if _name(step) != DARKEN]
    if low is None:
        place = next(index for index, step in enumerate(steps) if _name(step) not in BEFORE_DARKENING)
        made = darken[0] if darken else {'type': 'saga_mm.SynthesizeLowLight'}
        # the same dark pictures at every evaluation
        steps.insert(place, made if split == 'train' else {**made, 'seed': 0})
    dataset.clear()
    dataset.update(
        **{**kept, 'pipeline': steps},
        type='saga_mm.PairedLowLightDataset',
        data_root=high,
        low=low,
        high='.',
    )
    if hold_out:
        dataset.update(hold_out=_number_held_out(high, low), split=split)


def _number_held_out(high: str, low: str | None) -> int:
    from saga_mm.datasets.low_light.layouts import find_pairs

    count = len(find_pairs(high, low, '.').pairs)
    if count < 2:
        raise SagaError(f'{high}: holds {count} pictures to train on, of which none can be held out; name --val-high')
    return max(1, count // HELD_OUT)


def _name(step: dict[str, Any]) -> str:
    return str(step['type']).rpartition('.')[2]
