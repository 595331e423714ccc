"""Train what is missing: python -m benchmarks.comparison.run --data DATA --out RESULTS"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch

from saga_mm.errors import SagaError
from saga_mm.files import locked_folder, write_file

from .jobs import JOBS, SIZE
from .mixers import matched_ratio
from .plan import EPOCHS, Results, Run, as_dict, plan
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
    results, done = Results(args.out), 0
    with locked_folder(args.out, f'--out {args.out}: another comparison is running in this folder'):
        for run in plan(results):
            if results.get(run) is None and (args.runs is None or done < args.runs):
                done += 1
                perform(run, results, args.data)


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
    """Take over the backbone of the classifier with the same mixer and seed.

    Raises:
        SagaError: It is not trained yet.
    """
    rate = results.rate('classes', run.trunk, run.mixer)
    path = results.weights(Run('classes', run.trunk, run.mixer, rate, run.seed, EPOCHS))
    if not path.is_file():
        raise SagaError(f'{path}: is missing; its run comes before {run.name}')
    state = torch.load(path, weights_only=True)['state_dict']
    backbone.load_state_dict({k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')})


if __name__ == '__main__':
    main()
