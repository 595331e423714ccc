"""``saga-mm train``: train a model."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import add_data_options, add_launcher, add_work_dir, own_data_of
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_model
from saga_mm.loading.named_files import require_checkpoint

INTERRUPTED = 'Stopped. The same command with --resume continues from the newest checkpoint.'


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm train',
        description='Train a model for detection, segmentation, classification or low-light enhancement.',
        epilog='To begin with, saga-mm train saga_maskrcnn.py trains a detector on pictures that it draws.',
    )
    made.add_argument('config', help='a config file, or its name inside configs/')
    made.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint, or from the newest one in a folder (default: the work folder)',
    )
    made.add_argument(
        '--weights',
        metavar='FILE',
        help='start from weights of the whole model or of its backbone, also as their authors published them, or from '
        'the best of a work folder',
    )
    made.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='length of the training; warm-up, schedule, validations and checkpoints are fitted to it',
    )
    made.add_argument('--iters', type=int, metavar='N', help='the same in iterations')
    made.add_argument('--batch-size', type=int, metavar='N', help='images that each process takes in an iteration')
    made.add_argument('--lr', type=float, metavar='RATE', help='highest learning rate, in place of that of the config')
    made.add_argument('--amp', action='store_true', help='train in mixed precision (needs a GPU)')
    made.add_argument(
        '--auto-scale-lr', action='store_true', help='fit the learning rate to the number of images a step'
    )
    add_work_dir(made)
    add_launcher(made)
    made.add_argument(
        '--bands', type=int, metavar='N', help='processes that share each image, which is divided in bands of rows'
    )
    made.add_argument(
        '--shard',
        action='store_true',
        help='divide parameters, gradients and states of the optimizer among all processes (FSDP2)',
    )
    add_data_options(made, training=True)
    return made


def main(args: argparse.Namespace) -> None:
    """Train."""
    require_model(args.config)
    for named in (args.weights, args.resume):
        if named not in (None, 'auto'):
            require_checkpoint(named)

    from saga_mm.runs.length import Length
    from saga_mm.runs.train import TrainOptions, train

    train(
        TrainOptions(
            config=args.config,
            cfg_options=args.cfg_options,
            work_dir=args.work_dir,
            launcher=args.launcher,
            own_data=own_data_of(args),
            resume=args.resume,
            weights=args.weights,
            bands=args.bands,
            shard=args.shard,
            length=Length(args.epochs, args.iters, args.batch_size, args.lr),
            amp=args.amp,
            auto_scale_lr=args.auto_scale_lr,
        )
    )
