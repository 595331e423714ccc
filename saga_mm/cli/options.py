"""Options that several verbs share."""

from __future__ import annotations

import argparse
from typing import Any

from saga_mm.cli.parser import Parser, add_config_values
from saga_mm.errors import SagaError
from saga_mm.tasks import options_of
from saga_mm.tasks.own_data import OwnData
from saga_mm.tasks.task import listed, option_text

# as saga_mm.engines has them, which needs torch
ENGINES, PRECISIONS = ('auto', 'torch', 'openvino'), ('f32', 'bf16')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def add_work_dir(parser: Parser) -> None:
    """Where a run writes, and values of its config."""
    parser.add_argument(
        '--work-dir', metavar='DIR', help='where logs and results go (default: work_dirs/ and the name of the config)'
    )
    add_config_values(parser, help='values of the config to change, for example model.backbone.attention=linear')


def add_launcher(parser: Parser) -> None:
    """Options for several processes."""
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes are started')
    # older launchers pass it; the environment variable says the same
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_engine_options(parser: Parser) -> None:
    """Options that say where a model runs."""
    parser.add_argument(
        '--engine',
        choices=ENGINES,
        default='auto',
        help='openvino compiles the model for the CPU; auto does so if the time to compile pays off (default: auto)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='f32',
        help='bf16 multiplies in bfloat16 if the processor can; only with openvino (default: f32)',
    )
    parser.add_argument('--explain', action='store_true', help='print at the end which engine ran each part, and why')


def add_device(parser: Parser) -> None:
    """Where a model runs."""
    parser.add_argument('--device', help='cpu, cuda:1, ... (default: a GPU if there is one)')


def add_out(parser: Parser, metavar: str, text: str, **settings: Any) -> None:
    """What is written."""
    parser.add_argument('-o', '--out', metavar=metavar, help=text, **settings)


def add_overwrite(parser: Parser) -> None:
    """Whether a file that exists is replaced; earlier ``--force``."""
    parser.add_argument('--overwrite', action='store_true', help='replace what exists')
    parser.add_old('--force', '--overwrite')


def add_data_options(parser: Parser, training: bool) -> None:
    """Options that name one's own data."""
    group = parser.add_argument_group('own data, in place of that of the config')
    group.add_argument('--data-root', metavar='DIR', help='folder that the paths below are relative to')
    for name, (option, tasks) in options_of('data').items():
        if training or not name.startswith('train_'):
            help_text = f'for {listed(tasks)}: {option.help}'
            group.add_argument(option_text(name), help=help_text, **{'metavar': 'PATH', **option.settings})


def add_task_options(parser: Parser, *verbs: str) -> None:
    """Options of a command that some tasks have."""
    for verb in verbs:
        for name, (option, tasks) in options_of(verb).items():
            if not any(action.dest == name for action in parser._actions):
                help_text = f'for {listed(tasks)}: {option.help}'
                parser.add_argument(option_text(name), help=help_text, **option.settings)


def task_options(args: argparse.Namespace, *verbs: str) -> dict[str, Any]:
    """What a command line gave of the options of :func:`add_task_options`."""
    return {name: getattr(args, name) for verb in verbs for name in options_of(verb)}


def own_data_of(args: argparse.Namespace) -> OwnData:
    """The data that a command line names."""
    return OwnData(**{name: getattr(args, name, None) for name in ('data_root', *options_of('data'))})


def add_destination(parser: Parser, text: str) -> None:
    """The file to write, as ``-o`` or as the last name."""
    parser.add_argument('destination', nargs='?', metavar='DST', help=f'{text}; -o names it as well')
    parser.add_argument('-o', '--out', metavar='DST', help=argparse.SUPPRESS)


def destination_of(args: argparse.Namespace) -> str:
    """The file to write.

    Raises:
        SagaError: None is named, or two are.
    """
    if args.destination and args.out:
        raise SagaError(f'-o {args.out}: the file to write is already named, {args.destination}; leave out one of them')
    if not (args.destination or args.out):
        raise SagaError('the file to write is missing; add -o FILE')
    return args.destination or args.out
