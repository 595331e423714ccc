"""``saga-mm predict``: draw what a model finds."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import add_device, add_engine_options, add_out, add_task_options, task_options
from saga_mm.cli.parser import Parser, add_config_values
from saga_mm.cli.required import require_pictures, require_run


def parser() -> Parser:
    """The options."""
    made = Parser('saga-mm predict', description='Predict on your own pictures: draw the results and list them.')
    made.add_argument(
        'config', help='a config file, or its name inside configs/; or an exported segmentor or classifier, NAME.onnx'
    )
    made.add_argument(
        'checkpoint',
        nargs='?',
        help='the weights: a .pth file, or a work folder for the best in it; none for NAME.onnx',
    )
    made.add_argument('source', metavar='IMAGE_OR_FOLDER', help='a picture, or a folder with pictures')
    add_out(
        made,
        'DIR',
        'where drawn pictures, predictions.json and, from a segmentation model, class maps go (default: '
        'work_dirs/predict/NAME)',
    )
    add_task_options(made, 'predict')
    add_engine_options(made)
    add_device(made)
    add_config_values(made)
    return made


def main(args: argparse.Namespace) -> None:
    """Predict."""
    require_run(args.config, args.checkpoint)
    require_pictures(args.source)

    from saga_mm.runs.predict import PredictOptions, predict

    own = task_options(args, 'predict')
    shared = {name: value for name, value in vars(args).items() if name not in own}
    predict(PredictOptions(**shared, task_options=own))
