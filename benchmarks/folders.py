"""A folder of small pictures over several processes: time against one process, and what kills leave.

``python -m benchmarks.folders`` makes the pictures, and enhances them without and with torchrun. With ``--kills`` it
enhances them on processes that are killed at random and started again. With ``--folder`` pictures, results and counts
stay there, so that a run that was stopped, which kills all processes at once, goes on with the next call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SUMMARY = ' done, '


def make(folder: Path, count: int, size: int) -> None:
    """Pictures of noise."""
    folder.mkdir(exist_ok=True)
    random_numbers = np.random.default_rng(0)
    for i in range(count):
        pixels = random_numbers.integers(0, 64, (size, size, 3), dtype=np.uint8)
        if not (path := folder / f'{i:05}.png').exists():
            Image.fromarray(pixels).save(path)


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


class Killing:
    """A command on several processes, of which one after the other is killed at random and started again.

    Args:
        words: The command after ``python``.
        folder: Holds the results in ``out``, and what was counted so far.
        processes: Their number.

    Attributes:
        kills: How many were killed, and how often all were by the end of a call.
        again: Results that were there at a kill and were written again after it.
        seconds: That the calls took.
    """

    def __init__(self, words: list[str], folder: Path, processes: int) -> None:
        self.words, self.out, self.processes = words, folder / 'out', processes
        self._counts, self.seen = folder / 'counts.json', {}
        self.kills, self.stops, self.again, self.seconds = 0, 0, [], 0.0
        if self._counts.exists():
            self.kills, self.stops, self.again, self.seconds, self.seen = json.loads(self._counts.read_text())
        self._begun = time.monotonic() - self.seconds
        self._running: dict[int, subprocess.Popen] = {}

    def run(self, kills: int, every: tuple[float, float]) -> str:
        """What the first process prints at the end.

        Args:
            kills: How many, of all calls.
            every: The least and the most seconds between two of them.
        """
        chance = random.Random(self.kills + 100 * self.stops)
        try:
            for rank in range(self.processes):
                self._start(rank)
            while self.kills < kills and (alive := self._wait(chance.uniform(*every))):
                rank = chance.choice(alive)
                self._running[rank].kill()
                self._running[rank].communicate()
                self.kills += 1
                self._look()
                self._start(rank)
            said = {rank: process.communicate() for rank, process in self._running.items()}
        except BaseException:
            for process in self._running.values():
                process.kill()
            self.stops += 1
            raise
        finally:
            self._look()
        for rank, process in self._running.items():
            if process.returncode:
                raise SystemExit(f'process {rank}: {said[rank][1][-500:]}')
        return said[0][0]

    def _wait(self, seconds: float) -> list[int]:
        time.sleep(seconds)
        return [rank for rank, process in self._running.items() if process.poll() is None]

    def _start(self, rank: int) -> None:
        env = {'RANK': str(rank), 'WORLD_SIZE': str(self.processes), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '1'}
        self._running[rank] = subprocess.Popen(
            [sys.executable, *self.words],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _look(self) -> None:
        """Note which results are there, by what changes when a file is written again."""
        entries = [one for one in os.scandir(self.out) if one.name.endswith('.png')] if self.out.is_dir() else []
        found = {entry.name: [entry.inode(), entry.stat().st_mtime_ns] for entry in entries}
        self.again = sorted(
            {*self.again, *(name for name, stamp in found.items() if self.seen.get(name, stamp) != stamp)}
        )
        self.seen.update(found)
        self.seconds = time.monotonic() - self._begun
        self._counts.write_text(json.dumps([self.kills, self.stops, self.again, self.seconds, self.seen]))


def report(args: argparse.Namespace, scratch: Path) -> None:
    """Run with kills, and say what came of it."""
    killing = Killing(command(scratch / 'in', scratch / 'out'), scratch, args.processes)
    printed = killing.run(args.kills, tuple(args.every))
    # a picture whose process was killed between writing it and saying so is found written
    names = [line.split()[1].rstrip(':') for line in printed.splitlines() if line.startswith(('done ', 'skipped '))]
    written = len(list((scratch / 'out').rglob('*.png')))
    print(f'{killing.kills} kills of a process, {killing.stops} of all at once, {killing.seconds:.0f} s')
    print(
        f'{written} of {args.pictures} pictures written, {len(names)} listed, {len(set(names))} of them different, '
        f'{len(killing.again)} written again'
    )
    print(next(line for line in printed.splitlines() if SUMMARY in line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', type=int, default=10000)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--processes', type=int, default=4)
    parser.add_argument('--kills', type=int, default=0, help='kill this often, instead of taking the time')
    parser.add_argument('--every', type=float, nargs=2, default=(1.0, 8.0), help='seconds between two kills')
    parser.add_argument('--folder', type=Path, help='keep all there, and go on with what an earlier call left')
    args = parser.parse_args()
    # a call that is stopped ends its processes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = args.folder or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        folder = scratch / 'in'
        make(folder, args.pictures, args.size)
        if args.kills:
            report(args, scratch)
            return
        alone = timed([sys.executable, *command(folder, scratch / 'alone')])
        words = command(folder, scratch / 'together')
        together = timed([sys.executable, '-m', 'torch.distributed.run', f'--nproc-per-node={args.processes}', *words])
        print(f'{args.pictures} pictures: {alone:.1f} s alone, {together:.1f} s on {args.processes} processes')


if __name__ == '__main__':
    main()
