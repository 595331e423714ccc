"""Quality of low-light weights, noise of dark photographs, and the brightness that a model predicts.

usage: python -m benchmarks.low_light quality --weights base tiny --low DARK --high BRIGHT
       python -m benchmarks.low_light quality --weights base tiny --photos PHOTOS
       python -m benchmarks.low_light noise FOLDER [FOLDER ...] [--darken FOLDER]
       python -m benchmarks.low_light fit WEIGHTS.npz --photos PHOTOS -o NEW.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.datasets.low_light.layouts import find_pairs
from saga_mm.datasets.low_light.transforms import LoadPair, read_bgr
from saga_mm.display.progress import progress_bar
from saga_mm.evaluation.noise import noise_profile
from saga_mm.evaluation.quality import gt_mean, psnr, quantize, ssim
from saga_mm.models.enhancement.exposure import Exposure, ExposureState, luminance
from saga_mm.models.enhancement.weight_files import load_weights, read_weights, save_weights

# how photographs are darkened to be measured: by 2 to 5 stops, the same for a name each time
MEASURED = {'exposure': (2.0, 5.0), 'seed': 0}
# how they are darkened to learn their brightness from: as in the recipe of the weights
EVENLY = {'exposure': (0.0, 5.5), 'falloff': (0.0, 3.0), 'lamps': (0, 1)}
BACKLIT = {'exposure': (0.0, 1.5), 'backlight': (0.0, 5.0), 'lamps': (0, 1)}
LEARNED = (EVENLY, EVENLY, BACKLIT)
# longest side of the pictures that brightness is learned from, and how often each is darkened
SIDE, DRAWS = 320, 9
COLUMNS = ('PSNR', 'SSIM', 'PSNR_GTmean', 'SSIM_GTmean', 'PSNR_given', 'clipped')

Pair = tuple[torch.Tensor, torch.Tensor]


def to_image(bgr: np.ndarray) -> torch.Tensor:
    """``(1, 3, H, W)`` RGB in [0, 1] of uint8 BGR."""
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1)))[None].float() / 255


def read_pairs(low: str, high: str) -> Iterator[Pair]:
    """Pairs of a data set of pairs."""
    for pair in find_pairs('.', low, high).pairs:
        yield to_image(read_bgr(pair.low)), to_image(read_bgr(pair.high))


def darkened_pairs(folder: str) -> Iterator[Pair]:
    """Pairs of good photographs; each is darkened as its name has it, and from linear light where that is there."""
    darken = SynthesizeLowLight(**MEASURED)
    for results in _loaded(folder):
        made = darken(results)
        yield to_image(made['img']), to_image(made['gt'])


def measure(answer: torch.Tensor, given: torch.Tensor, pair: Pair) -> list[float]:
    """The figures of :data:`COLUMNS` of one answer, and of one that was given the true brightness."""
    dark, bright = (image[0] for image in pair)
    answer, given = (quantize(image[0]) for image in (answer, given))
    scaled = gt_mean(answer, bright)
    white = [float((quantize(image) == 1).all(0).double().mean()) for image in (answer, dark)]
    return [
        psnr(answer, bright),
        ssim(answer, bright),
        psnr(scaled, bright),
        ssim(scaled, bright),
        psnr(given, bright),
        white[0] - white[1],
    ]


@torch.no_grad()
def quality(weights: Sequence[str], pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """Means of :data:`COLUMNS` for the input itself, a gamma of 0.3, and weights."""
    rows = {name: [] for name in ('input', 'gamma 0.3', *weights)}
    models = {name: load_weights(name) for name in weights}
    for pair in progress_bar(pairs, len(pairs), 'pairs'):
        dark, level = pair[0], float(luminance(pair[1]))
        rows['input'].append(measure(dark, dark, pair))
        rows['gamma 0.3'].append(measure(dark**0.3, dark**0.3, pair))
        for name, model in models.items():
            rows[name].append(measure(model.enhance(dark), model.enhance(dark, brightness=level), pair))
    return {name: np.mean(figures, 0) for name, figures in rows.items()}


def brightness_samples(folder: str, draws: int = DRAWS, seed: int = 0) -> Pair:
    """States of darkened photographs ``(N, gains)``, and the mean luminance ``(N,)`` that they had before."""
    levels, wanted, exposure = [], [], Exposure()
    transforms = [SynthesizeLowLight(**options) for options in LEARNED]
    for number, results in enumerate(_loaded(folder)):
        bright, light = (_shrunk(results.get(key)) for key in ('gt', 'light'))
        for draw in range(draws):
            rng = np.random.default_rng([seed, number, draw])
            dark, target = transforms[draw % len(transforms)].pair(bright, rng, light)
            levels.append(exposure.measure(to_image(dark)).levels)
            wanted.append(luminance(to_image(target)))
    return torch.cat(levels), torch.cat(wanted)


def fit_brightness(levels: torch.Tensor, wanted: torch.Tensor, steps: int = 1500, seed: int = 0) -> Exposure:
    """An exposure whose prediction has the least squared error on such samples."""
    torch.manual_seed(seed)
    exposure = Exposure()
    optimizer = torch.optim.AdamW(exposure.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(levels), (256,))
        error = exposure.predict(ExposureState(levels[chosen], 1)) - wanted[chosen]
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()
    return exposure


def _loaded(folder: str) -> Iterator[dict]:
    load = LoadPair(light=True)
    pairs = find_pairs('.', None, folder).pairs
    for pair in progress_bar(pairs, len(pairs), 'photographs'):
        yield load({'gt_path': pair.high})


def _shrunk(image: np.ndarray | None) -> np.ndarray | None:
    scale = 1.0 if image is None else SIDE / max(image.shape[:2])
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _print_quality(args: argparse.Namespace) -> None:
    pairs = list(read_pairs(args.low, args.high) if args.low else darkened_pairs(args.photos))
    print('weights'.ljust(16), *(name.rjust(12) for name in COLUMNS))
    for name, figures in quality(args.weights, pairs).items():
        print(name.ljust(16), *(f'{figure:12.4f}' for figure in figures))
    print(f'means over {len(pairs)} pairs; given: with the true mean luminance; clipped: share of white pixels more')


def _print_noise(args: argparse.Namespace) -> None:
    def rgb(folder: str) -> Iterable[np.ndarray]:
        return (read_bgr(pair.high)[..., ::-1] for pair in find_pairs('.', None, folder).pairs)

    profiles = {folder: noise_profile(rgb(folder)) for folder in args.folders}
    if args.darken:
        darken, rng = SynthesizeLowLight(), np.random.default_rng(0)
        made = (darken.darken(np.ascontiguousarray(image[..., ::-1]), rng)[..., ::-1] for image in rgb(args.darken))
        profiles[f'{args.darken}, darkened'] = noise_profile(made)
    for name, profile in profiles.items():
        print(name)
        for what, figures in profile._asdict().items():
            print(f'  {what:14}', *(f'{figure:7.2f}' for figure in figures))


def _fit(args: argparse.Namespace) -> None:
    header, state = read_weights(args.file)
    exposure = fit_brightness(*brightness_samples(args.photos))
    state.update({f'exposure.{name}': value for name, value in exposure.state_dict().items()})
    facts = {key: value for key, value in header.items() if key not in ('format', 'model', 'version')}
    save_weights(args.out, header['model'], state, **facts)


def main() -> None:
    """The three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser('quality', help='PSNR and SSIM of weights')
    made.add_argument('--weights', nargs='+', default=['base', 'tiny'])
    made.add_argument('--low', help='folder of dark pictures')
    made.add_argument('--high', help='folder of their bright ones')
    made.add_argument('--photos', help='folder of good photographs to darken, in place of pairs')
    made.set_defaults(run=_print_quality)
    made = commands.add_parser('noise', help='noise of photographs by brightness, and how far it reaches')
    made.add_argument('folders', nargs='+')
    made.add_argument('--darken', help='folder of good photographs, to be darkened first')
    made.set_defaults(run=_print_noise)
    made = commands.add_parser('fit', help='teach weights the brightness of whole photographs')
    made.add_argument('file')
    made.add_argument('--photos', required=True)
    made.add_argument('-o', '--out', required=True)
    made.set_defaults(run=_fit)
    args = parser.parse_args()
    args.run(args)


if __name__ == '__main__':
    main()
