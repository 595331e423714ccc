"""Train what is missing: python -m benchmarks.comparison.run --data DATA --out RESULTS"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from saga_mm.errors import SagaError
from saga_mm.files import locked_folder, write_file

from .jobs import JOBS, SIZE
from .mixers import matched_ratio
from .plan import Results, Run, as_dict, classifier, plan
from .training import train

LOOKS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, required=True, help='folder with classes_small, camvid and lol_v1_crops')
    parser.add_argument(
        '--out', type=Path, required=True, help='folder of the results; what lies there is not run again'
    )
    parser.add_argument('--runs', type=int, help='stop after so many (default: when none is missing)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    train_missing(Results(args.out), args.data, args.runs)


def train_missing(results: Results, data: Path, most: int | None = None) -> int:
    """Train runs of the plan until none is missing that no other process is training.

    Args:
        results: Where results are looked up and written; several processes may share the folder.
        data: Folder of the data.
        most: Stop after so many runs; None for no limit.

    Returns:
        How many runs were trained.
    """
    done, trained = 0, True
    while trained:
        trained = False
        # a finished run can admit earlier runs of the plan, so that each pass starts at its beginning
        for run in plan(results):
            if done == most:
                return done
            if results.get(run) is None and claim(run, results, data):
                done, trained = done + 1, True
                break
    return done


def claim(run: Run, results: Results, data: Path) -> bool:
    """Train a run, unless another process is training it or has finished it meanwhile."""
    folder = results.folder / f'{run.name}.running'
    with ExitStack() as lock:
        try:
            lock.enter_context(locked_folder(folder, f'{folder}: another process is training this run'))
        except SagaError:
            return False
        missing = results.get(run) is None
        if missing:
            perform(run, results, data)
        folder.rmdir()
        return missing


def perform(run: Run, results: Results, data: Path) -> None:
    """Train one run and write what it found."""
    start = time.time()
    torch.manual_seed(run.seed)
    job = JOBS[run.task](run, data)
    if run.start == 'pretrained':
        load_classifier(job.backbone, run, results)
    steps = run.length * (job.count // job.batch) if run.task == 'classes' else run.length
    found = train(job, run.rate, run.seed, steps, LOOKS)
    kept = {
        **as_dict(run),
        'parameters': sum(p.numel() for p in job.model.parameters()),
        'ratio': matched_ratio(run.trunk, run.mixer, SIZE),
        'seconds': time.time() - start,
        'torch': torch.__version__,
    }
    write_file(results.weights(run), partial(torch.save, {'state_dict': job.model.state_dict()}))
    write_file(results.path(run), json.dumps({**kept, **found}, indent=1))
    print(f'{time.strftime("%H:%M:%S")} {run.name}: {found["score"]:.2f} in {kept["seconds"]:.0f} s', flush=True)


def load_classifier(backbone: torch.nn.Module, run: Run, results: Results) -> None:
    """Take over the backbone of the classifier with the same mixer, learning rate and seed."""
    path = results.weights(classifier(run.trunk, run.mixer, run.rate, run.seed))
    state = torch.load(path, weights_only=True)['state_dict']
    backbone.load_state_dict({k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')})


if __name__ == '__main__':
    main()
