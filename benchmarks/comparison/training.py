"""One training: the loop that all tasks share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saga_mm.analysis.rank import collect_ranks

WEIGHT_DECAY, CLIP, LAST_RATE = 0.05, 5.0, 0.01
BATCH, WARM_UP = 64, 0.07
RANK_IMAGES = 16


@dataclass
class Job:
    """What a task trains and measures.

    Attributes:
        model: The model.
        backbone: Its part whose ranks are watched.
        loss: From indices of training pictures and a source of random numbers to the loss.
        score: The figures of the model in evaluation mode; ``'score'`` decides.
        count: Training pictures.
        batch: Pictures a step.
        watched: Normalised pictures that ranks are measured on; None for no ranks.
    """

    model: nn.Module
    backbone: nn.Module
    loss: Callable[[np.ndarray, np.random.Generator], Tensor]
    score: Callable[[], dict[str, float]]
    count: int
    batch: int = BATCH
    watched: Tensor | None = None


@dataclass
class Log:
    """What a training found, as it is written down."""

    losses: list[float] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    ranks: list[dict[str, Any]] = field(default_factory=list)


def train(job: Job, rate: float, seed: int, steps: int, looks: int) -> dict[str, Any]:
    """Train with AdamW: a linear warm-up, then a cosine to a hundredth of the rate.

    Args:
        job: What to train; its weights are drawn already.
        rate: Largest learning rate.
        seed: Of the order of the pictures and their crops, the same for every mixer, and of stochastic depth.
        steps: How many.
        looks: How often scores are measured, evenly over the steps.
    """
    torch.manual_seed(seed)
    draws = np.random.default_rng(seed)
    optimizer = make_optimizer(job.model, rate)
    warm_up, log, running, busy = max(int(WARM_UP * steps), 1), Log(), [], []
    marks = {round(steps * (i + 1) / looks) for i in range(looks)}
    _look(job, log, 0, score=False)
    queue: list[int] = []
    for step in range(steps):
        if len(queue) < job.batch:
            queue = list(draws.permutation(job.count))
        indices, queue = np.array(queue[: job.batch]), queue[job.batch :]
        start = time.thread_time()
        share = min((step + 1) / warm_up, 1.0)
        if step >= warm_up:
            part = (step - warm_up) / max(steps - warm_up, 1)
            share = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * part)) / 2
        for group in optimizer.param_groups:
            group['lr'] = rate * share
        loss = job.loss(indices, draws)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(job.model.parameters(), CLIP)
        optimizer.step()
        running.append(loss.item())
        busy.append(time.thread_time() - start)
        if step + 1 in marks:
            log.losses.append(float(np.mean(running)))
            running = []
            _look(job, log, step + 1)
    return {**asdict(log), **log.scores[-1], 'steps': steps, 'step_seconds': float(np.median(busy))}


def make_optimizer(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW that does not decay biases, norms and tables of positions."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    kept = [p for name, p in named if p.ndim < 2 or name.endswith('table')]
    decayed = [p for name, p in named if not (p.ndim < 2 or name.endswith('table'))]
    groups = [{'params': decayed, 'weight_decay': WEIGHT_DECAY}, {'params': kept, 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, rate, fused=True)


def _look(job: Job, log: Log, step: int, score: bool = True) -> None:
    job.model.eval()
    with torch.no_grad():
        if score:
            log.scores.append({'step': step, **job.score()})
        if job.watched is not None:
            layers = collect_ranks(job.backbone, job.watched)
            kept = ('layer', 'state_effective', 'output_effective')
            log.ranks.append({'step': step, 'layers': [{key: getattr(layer, key) for key in kept} for layer in layers]})
    job.model.train()
