"""Draw what a model finds: python tools/predict.py configs/saga_maskrcnn.py CHECKPOINT IMAGE_OR_FOLDER"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    from saga_mm.cli.options import add_engine_options

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
    parser.add_argument('--score-thr', type=float, help='for detection: lowest score that is shown (default: 0.3)')
    parser.add_argument(
        '--max-memory',
        metavar='SIZE',
        help='for segmentation: what the program may take, such as 4GB; what needs more is done in strips, with the '
        'same result (default: half of the memory that is free)',
    )
    parser.add_argument(
        '--own-size',
        action='store_true',
        help='for segmentation: pictures of any size at their own, where the config resizes them before the model',
    )
    add_engine_options(parser)
    parser.add_argument('--device', help='cpu, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='values of the config to change'
    )
    # options may stand between the names, of which one may be left out
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.predict import PredictOptions, predict

    predict(PredictOptions(**vars(args)))


if __name__ == '__main__':
    run_tool(main)
