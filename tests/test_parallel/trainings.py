"""Small trainings on one process and on several, forked from one that has imported everything: ``trainings.py FOLDER``.

Each has a folder with its work folder and, for each process, what it printed.
"""

import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
import torch._dynamo
from mmdet.utils import register_all_modules as register_detection
from mmseg.utils import register_all_modules as register_segmentation

import saga_mm.runs.train  # noqa: F401
from saga_mm.cli.main import main

HERE = Path(__file__).parent
# seconds
LIMIT = 100

COMMON = """
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False))
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
"""
# without dropout, crops and samples, which draw random numbers by process
CONFIGS = {
    'segmentation': f"""
_base_ = ['{HERE.parent}/tiny_segmentation.py']
{COMMON}
norm_cfg = dict(type='SyncBN')
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(drop_path_rate=0.0),
    decode_head=dict(dropout_ratio=0.0),
    auxiliary_head=dict(dropout_ratio=0.0, norm_cfg=norm_cfg),
)
# a validation at the end
train_cfg = dict(val_interval=2)
steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader['dataset'] = dict(pipeline=steps)
""",
    'enhancement': f"""
_base_ = ['{HERE.parent}/tiny_lowlight.py']
{COMMON}
train_cfg = dict(val_interval=4)
""",
    'detection': f"""
_base_ = ['{HERE.parent}/tiny.py']
{COMMON}
train_cfg = dict(val_interval=2)
model = dict(
    backbone=dict(drop_path_rate=0.0),
    train_cfg=dict(rpn=dict(sampler=dict(num=1000000)), rcnn=dict(sampler=dict(num=1000000))),
)
""",
}
WITHOUT_BN = ['--cfg-options', 'model.auxiliary_head.norm_cfg=None']
# config, processes, and options
RUNS = {
    'segmentation-1': ('segmentation', 1, ['--batch-size', '2']),
    'segmentation-4': ('segmentation', 4, ['--batch-size', '1', '--bands', '2']),
    'enhancement-1': ('enhancement', 1, []),
    'enhancement-2': ('enhancement', 2, ['--bands', '2']),
    'detection-1': ('detection', 1, []),
    'detection-2': ('detection', 2, ['--bands', '2']),
    # batch norms see the images of one process alone
    'segmentation-replicas-2': ('segmentation', 2, ['--epochs', '2', *WITHOUT_BN]),
    'segmentation-shard-2': (
        'segmentation',
        2,
        ['--iters', '4', '--shard', '--resume', '{folder}/segmentation-replicas-2/iter_2.pth', *WITHOUT_BN],
    ),
    'killed-1': ('enhancement', 1, ['--iters', '400']),
    # from the newest checkpoint that there is, two iterations more
    'resumed-1': ('enhancement', 1, ['--resume', '--work-dir', '{folder}/killed-1', '--iters', '{more}']),
    'averages-2': ('enhancement', 2, ['--shard']),
    'disagree-2': ('enhancement', 2, ['--bands', '2', '--lr', '{rank}e-3']),
    'too-many-bands-2': ('enhancement', 2, ['--bands', '3']),
    'absent-2': ('enhancement', 2, []),
}


def newest(work_dir: Path) -> int:
    """The iteration of the last checkpoint."""
    return max((int(path.stem.removeprefix('iter_')) for path in work_dir.glob('iter_*.pth')), default=0)


def run(name: str, folder: Path) -> None:
    """One training."""
    config, world, options = RUNS[name]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    children = []
    # the second does not come, or would wait for a launcher that ends it
    for rank in range(1 if name.startswith(('absent', 'averages')) else world):
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            if world > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE='4')
                os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
                os.environ['SAGA_MM_TIMEOUT'] = '1' if name.startswith('absent') else str(LIMIT)
                options = [*options, '--launcher', 'pytorch']
            if not {'--iters', '--epochs'} & set(options):
                options = ['--iters', '2', *options]
            more = 2 + newest(folder / 'killed-1')
            options = [option.format(rank=rank + 1, folder=folder, more=more) for option in options]
            # each task makes its data in a folder of its own
            os.chdir(folder / config)
            out = os.open(folder / f'{name}-{rank}.txt', os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1)
            os.dup2(out, 2)
            status = 1
            try:
                main(['train', f'../{config}.py', '--work-dir', str(folder / name), *options])
                status = 0
            except SystemExit as stop:
                status = stop.code
            finally:
                sys.stdout.flush()
                os._exit(status)
        children.append(child)
    statuses, end = {}, time.monotonic() + LIMIT
    while len(statuses) < len(children) and time.monotonic() < end:
        for child in children:
            if child not in statuses and os.waitpid(child, os.WNOHANG)[0]:
                statuses[child] = True
        if name.startswith('killed') and not statuses and newest(folder / name):
            os.kill(children[0], signal.SIGKILL)
        time.sleep(0.02)
    for child in set(children) - set(statuses):
        os.kill(child, 9)


def train_all(folder: Path) -> None:
    """All of them, one after the other."""
    register_detection(init_default_scope=False)
    register_segmentation(init_default_scope=False)
    quick = runpy.run_path(str(HERE.parent / 'quick_runners.py'))
    patch = pytest.MonkeyPatch()
    quick['make_runners_quick'](patch)
    quick['read_configs_once'](patch)
    quick['wait_for_no_disk'](patch)
    quick['keep_what_is_loaded']()
    for name, text in CONFIGS.items():
        (folder / name).mkdir()
        (folder / f'{name}.py').write_text(text)
    for name in RUNS:
        run(name, folder)


if __name__ == '__main__':
    train_all(Path(sys.argv[1]))
