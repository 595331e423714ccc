"""A folder of small pictures over several processes: time against one process, and what kills leave.

``python -m benchmarks.folders`` makes the pictures, enhances them without and with torchrun, and once more on processes
that are killed at random and started again.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

# seconds between two kills
EVERY = 1.0, 8.0
SUMMARY = ' done, '


def make(folder: Path, count: int, size: int) -> None:
    """Pictures of noise."""
    folder.mkdir()
    random_numbers = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random_numbers.integers(0, 64, (size, size, 3), dtype=np.uint8)).save(folder / f'{i:05}.png')


def command(folder: Path, out: Path) -> list[str]:
    """What enhances the folder, after ``python``."""
    return ['-m', 'saga_mm', 'enhance', str(folder), '--out', str(out), '--weights', 'tiny', '--engine', 'torch']


def timed(words: list[str]) -> float:
    """Seconds of a command that has to succeed."""
    started = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'{" ".join(words)}: {done.stderr[-500:]}')
    return time.monotonic() - started


def with_kills(words: list[str], processes: int, kills: int) -> str:
    """Run a command on processes of which one after the other is killed and started again; what the first prints."""
    chance = random.Random(0)

    def start(rank: int) -> subprocess.Popen:
        told = {'RANK': str(rank), 'WORLD_SIZE': str(processes), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '1'}
        return subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **told},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    running = {rank: start(rank) for rank in range(processes)}
    done = 0
    while done < kills:
        time.sleep(chance.uniform(*EVERY))
        alive = [rank for rank, process in running.items() if process.poll() is None]
        if not alive:
            break
        rank = chance.choice(alive)
        running[rank].kill()
        running[rank].communicate()
        running[rank] = start(rank)
        done += 1
    said = {rank: process.communicate() for rank, process in running.items()}
    for rank, process in running.items():
        if process.returncode:
            raise SystemExit(f'process {rank}: {said[rank][1][-500:]}')
    print(f'{done} kills')
    return said[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', type=int, default=10000)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--processes', type=int, default=4)
    parser.add_argument('--kills', type=int, default=0, help='kill this often, instead of taking the time')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, 'in'), Path(scratch, 'out')
        make(folder, args.pictures, args.size)
        words = command(folder, out)
        if args.kills:
            told = with_kills(words, args.processes, args.kills)
            names = [line.split('->')[0].split()[-1] for line in told.splitlines() if ' -> ' in line]
            print(
                f'{len(list(out.rglob("*.png")))} of {args.pictures} pictures written, {len(set(names))} listed as done'
            )
            print(next(line for line in told.splitlines() if SUMMARY in line))
            return
        alone = timed([sys.executable, *words])
        words = command(folder, Path(scratch, 'again'))
        together = timed([sys.executable, '-m', 'torch.distributed.run', f'--nproc-per-node={args.processes}', *words])
        print(f'{args.pictures} pictures: {alone:.1f} s alone, {together:.1f} s on {args.processes} processes')


if __name__ == '__main__':
    main()
