"""One image over real processes on this machine: memory that a process takes, and time, against one process.

``python -m benchmarks.band_processes`` forks them. Memory is how far the peak of the resident set (``VmHWM``) rises
above what the process holds before, with libraries, weights and the image. Time is the best of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch._dynamo
import torch.distributed as dist
from torch import nn

from benchmarks.bands import BACKBONE, CONFIG, MIB, build_segmentor
from saga_mm.models.backbones import create_backbone
from saga_mm.parallel import BandRunner, Bands, BandTrainer, Mesh, make_mesh, segmentor_losses, sum_gradients
from saga_mm.rows import ImageRows

# run once before, so that libraries have what they keep
WARM = 128


class Measured(NamedTuple):
    """Of the busiest process: bytes above what it held before, its whole peak, and seconds."""

    growth: int
    peak: int
    seconds: float


def infer(mesh: Mesh, side: int) -> Callable[[], object]:
    """Inference of a backbone in strips, maps in memory."""
    torch.manual_seed(0)
    net = create_backbone(BACKBONE).eval()
    # rows are made where they are asked for, as a file gives them
    image = ImageRows(lambda start, stop: torch.full((1, 3, stop - start, side), 0.5), side, side)

    @torch.no_grad()
    def run() -> object:
        return net.forward_rows(image, BandRunner(Bands(mesh, side, 32)))

    return run


def train(mesh: Mesh, side: int) -> Callable[[], object]:
    """Losses and gradients of a segmentor; a single process runs the model itself."""
    torch.manual_seed(0)
    model = build_segmentor().train()
    images, labels = torch.randn(1, 3, side, side), torch.randint(0, 6, (1, side, side))

    def run() -> object:
        losses = losses_of(model, images, labels, mesh)
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        sum_gradients(model.parameters(), mesh)
        model.zero_grad()
        return losses

    return run


def losses_of(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, mesh: Mesh) -> dict[str, torch.Tensor]:
    """As in ordinary training, or in bands."""
    if mesh.bands > 1:
        return segmentor_losses(model, images, labels, BandTrainer(Bands(mesh, images.shape[2], 32)))
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    return model.loss(images, samples)


JOBS = {'inference': infer, 'training': train}


def measure(job: str, side: int, bands: int, threads: int, runs: int) -> Measured:
    """Run a job on new processes.

    Args:
        job: Of :data:`JOBS`.
        side: Of the square image.
        bands: Processes.
        threads: Of each.
        runs: How often; the first alone counts for memory, the best for time.
    """
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(bands):
            child = os.fork()
            if not child:
                status = 1
                try:
                    _run(Path(folder), job, side, (rank, bands), threads, runs)
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        if any(os.waitpid(child, 0)[1] for child in children):
            raise SystemExit(f'{job} of {side} x {side} in {bands} processes: failed')
        found = [json.loads(path.read_text()) for path in Path(folder).glob('*.json')]
    return Measured(*(max(each[i] for each in found) for i in range(3)))


def _run(folder: Path, job: str, side: int, process: tuple[int, int], threads: int, runs: int) -> None:
    torch.set_num_threads(threads)
    rank, world = process
    if world > 1:
        store = dist.FileStore(str(folder / 'store'), world)
        dist.init_process_group('gloo', store=store, rank=rank, world_size=world)
    mesh = make_mesh()
    JOBS[job](mesh, WARM * world)()
    run = JOBS[job](mesh, side)
    before = _status('VmRSS')
    # have the peak begin anew
    Path('/proc/self/clear_refs').write_text('5')
    seconds = []
    for _ in range(runs):
        mesh.total(torch.ones(1), 'start')
        started = time.monotonic()
        kept = run()
        seconds.append(time.monotonic() - started)
        if len(seconds) == 1:
            peak = _status('VmHWM')
        del kept
    (folder / f'{rank}.json').write_text(json.dumps([peak - before, peak, min(seconds)]))


def _status(name: str) -> int:
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--job', choices=sorted(JOBS), default='inference')
    parser.add_argument('--side', type=int, default=4096, help='rows and columns of the image')
    parser.add_argument('--bands', type=int, default=4)
    parser.add_argument('--threads', type=int, default=1, help='of each band')
    parser.add_argument('--threads-alone', type=int, default=2, help='of the one process')
    parser.add_argument('--runs', type=int, default=1)
    args = parser.parse_args()
    one = measure(args.job, args.side, 1, args.threads_alone, args.runs)
    several = measure(args.job, args.side, args.bands, args.threads, args.runs)
    print(f'{args.job} ({BACKBONE if args.job == "inference" else CONFIG}), {args.side} x {args.side}')
    for name, found in (('1 process', one), (f'{args.bands} bands', several)):
        print(f'{name}: +{found.growth / MIB:.0f} MiB, peak {found.peak / MIB:.0f} MiB, {found.seconds:.2f} s')
    print(
        f'memory {several.growth / one.growth:.3f}, whole peak {several.peak / one.peak:.3f}, '
        f'time {several.seconds / one.seconds:.2f}'
    )


if __name__ == '__main__':
    main()
