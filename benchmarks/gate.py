"""Correctness first: what computes something else gets no figure."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from saga_mm.analysis.parts import first_line
from saga_mm.rows import limit_chunks

from .cases import Case, Subject
from .references import as_reference
from .steps import Step, largest_error
from .subjects import build

# sides that no stride divides; two images, because some norms of a training mode need more than one
SIZE, BATCH = (100, 68), 2
# so that even maps of this size run in chunks of rows
CHUNK_BYTES = 2**13
TOLERANCE = {'float32': 1e-4, 'bfloat16': 0.15, 'float16': 0.03}
# of biases, scales and tables; weights get as much as gives their outputs unit size
NOISE = 0.1


def check(case: Case) -> str | None:
    """What is wrong with a subject, or None: a small image against float64, in chunks of rows if it has such.

    Weights are random everywhere, zeros included. Backward, gradients are compared too.

    Raises:
        SagaError: There is no such subject.
    """
    small = replace(case.eager, size=SIZE, batch=BATCH)
    subject = build(small)
    subject = subject._replace(module=subject.traceable)
    disturb(subject.module)
    for child in subject.module.modules():
        # statistics of so few numbers amplify rounding
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()
    exact = _exact(subject, case.backward)
    try:
        with limit_chunks(CHUNK_BYTES):
            found = Step(subject, case.backward).results()
    # whatever is wrong with one subject, the others can be measured
    except Exception as error:
        return f'does not run: {first_line(error)}'
    error = largest_error(found, exact)
    return complaint(error, case.dtype, 'float64')


def complaint(error: float, dtype: str, reference: str) -> str | None:
    """What to say of a relative error beyond the tolerance of a type, or None."""
    # not a number is no answer either
    if error <= TOLERANCE[dtype]:
        return None
    return f'wrong: relative error {error:.1e} against {reference}, more than {TOLERANCE[dtype]:.0e}'


def _exact(subject: Subject, backward: bool) -> list[torch.Tensor]:
    inputs = tuple(t.detach().double().requires_grad_(t.requires_grad) for t in subject.inputs)
    step = Step(Subject(as_reference(subject.module), inputs, 0), backward)
    return step.results()


@torch.no_grad()
def disturb(module: nn.Module) -> None:
    """Add noise to all parameters, so that zeros, ones and small attention weights hide nothing."""
    torch.manual_seed(2)
    for parameter in module.parameters():
        is_weight = parameter.ndim > 1 and len(parameter) > 1
        scale = (parameter.numel() / len(parameter)) ** -0.5 if is_weight else NOISE
        parameter.add_(scale * torch.randn_like(parameter))
