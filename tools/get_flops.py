"""Print a model's parameters, multiply-accumulates (MACs) and peak live activations at a size, without running it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmengine.config import DictAction
from torch import nn

from saga_mm import SagaError, create_backbone
from saga_mm.analysis.parts import image_batch, measure_parts
from saga_mm.cli.run import run_tool
from saga_mm.loading.build import build_model
from saga_mm.loading.config import CONFIG_SUFFIXES, load_config
from saga_mm.loading.stack import require_stack_for


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='image size in pixels (default: 800 1280; 512 2048 for a segmentor, 224 224 for a classifier or backbone)',
    )
    parser.add_argument('--batch', type=int, default=1, metavar='N', help='images in the batch (default: 1)')
    parser.add_argument('--training', action='store_true', help='count the backward pass and what is kept for it')
    parser.add_argument('--json', action='store_true', help='print JSON, with exact MACs and bytes')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='override config values'
    )
    return parser.parse_args()


def load_model(name: str, options: dict) -> tuple[nn.Module, tuple[int, int]]:
    """The model behind a config file or a backbone's name, and the image size that is usual for it."""
    if Path(name).suffix in CONFIG_SUFFIXES or Path(name).exists():
        cfg = load_config(name, options)
        require_stack_for(cfg)
        model = build_model(cfg)
        sizes = {'decode_head': (512, 2048), 'head': (224, 224)}
        return model, next((size for head, size in sizes.items() if hasattr(model, head)), (800, 1280))
    try:
        return create_backbone(name, **options), (224, 224)
    except (ValueError, TypeError) as error:
        raise SagaError(f'{name}: no such config file, and as a backbone: {error}') from error


def main() -> None:
    args = parse_args()
    model, usual = load_model(args.model, args.cfg_options)
    cost = measure_parts(model, image_batch(args.batch, *(args.shape or usual)), args.training)
    print(json.dumps(cost.as_dict(), indent=2) if args.json else cost.as_table())


if __name__ == '__main__':
    run_tool(main)
