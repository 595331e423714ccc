"""Draw what a model finds: python tools/predict.py configs/saga_maskrcnn.py CHECKPOINT IMAGE_OR_FOLDER"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    from saga_mm.cli.options import add_engine_options, add_task_options

    parser = argparse.ArgumentParser(description='Draw objects or classes on your own pictures.')
    parser.add_argument(
        'config', help='a config file, or its name inside configs/; or an exported segmentor, NAME.onnx'
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='the weights: a .pth file, or a work folder for the best in it; none for NAME.onnx',
    )
    parser.add_argument('source', metavar='IMAGE_OR_FOLDER', help='a picture, or a folder with pictures')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='where drawn pictures, predictions.json and, from a segmentation model, class maps go '
        '(default: work_dirs/predict/NAME)',
    )
    add_task_options(parser, 'predict')
    add_engine_options(parser)
    parser.add_argument('--device', help='cpu, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='values of the config to change'
    )
    # options may stand between the names, of which one may be left out
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.options import task_options
    from saga_mm.cli.predict import PredictOptions, predict

    own = task_options(args, 'predict')
    shared = {name: value for name, value in vars(args).items() if name not in own}
    predict(PredictOptions(**shared, task_options=own))


if __name__ == '__main__':
    run_tool(main)
