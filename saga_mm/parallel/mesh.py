"""Processes as a mesh of data x bands, and communication between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives

from saga_mm.errors import SagaError, SharedError

from .peers import Peers

# what ``_functional_collectives`` calls, without its wrapper of tensors, which takes as long as a small exchange
FUNCTIONAL = torch.ops._c10d_functional
# of gloo and NCCL, whose errors have no class of their own everywhere
LOST = ('gloo', 'NCCL', 'Connection closed by peer', 'Connection reset by peer', 'Socket Timeout', 'ProcessGroup')


class Mesh:
    """This process among those that share an image: band ``index`` of ``bands``.

    A mesh of one band says nothing to anybody. Everything that processes exchange goes through the three methods here,
    in a process group of its own, and all processes call them in the same order.

    Args:
        index: Band of this process.
        bands: Bands.
        group: Process group of the bands of one image, in order; None for a single band.
        data: Which of several images this process shares.
        replicas: Images that are done at once.
        everyone: Process group of all bands of all images; None for ``group``.
        across: Process group of this band of all images, in order.

    Attributes:
        sent: Bytes that this process has sent so far, by what they were.
        calls: How often it has waited for others.
    """

    def __init__(
        self,
        index: int = 0,
        bands: int = 1,
        group: dist.ProcessGroup | None = None,
        data: int = 0,
        replicas: int = 1,
        everyone: dist.ProcessGroup | None = None,
        across: dist.ProcessGroup | None = None,
    ) -> None:
        self.index, self.bands, self.group = index, bands, group
        self.data, self.replicas, self.everyone, self.across = data, replicas, everyone or group, across
        self.sent: Counter[str] = Counter()
        self.calls = 0

    def everybody(self) -> Mesh:
        """A mesh with all processes as its bands, for values that all images share."""
        if self.replicas == 1:
            return self
        rank, world = self.data * self.bands + self.index, self.replicas * self.bands
        mesh = Mesh(rank, world, self.everyone)
        mesh.sent = self.sent
        return mesh

    @property
    def name(self) -> str:
        """Of this process, for messages."""
        return f'band {self.index} of {self.bands}'

    def exchange(self, x: torch.Tensor, give: Sequence[int], take: Sequence[int], what: str) -> torch.Tensor:
        """Give ``give[i]`` rows of ``x`` to band i, in order, and take ``take[i]`` rows of it; gradients go back.

        Args:
            x: The rows for all others, one after the other along the first dimension.
            give: Rows for each band.
            take: Rows of each band.
            what: What is sent, for :attr:`sent`.
        """
        return _Exchange.apply(x, self, tuple(give), tuple(take), what)

    def total(self, x: torch.Tensor, what: str) -> torch.Tensor:
        """The sum of ``x`` over all bands; gradients are summed too."""
        return _Total.apply(x, self, what)

    def gather(self, x: torch.Tensor, what: str, rows: Sequence[int] | None = None) -> list[torch.Tensor]:
        """``x`` of every band, in order; gradients of what others took come back.

        Args:
            x: Something with the same number of dimensions on all bands.
            what: What is sent, for :attr:`sent`.
            rows: Length of each band's first dimension; None if all have this one's.
        """
        rows = [x.shape[0]] * self.bands if rows is None else list(rows)
        # as an exchange, whose backward pass sums what all others send back of their copies
        copies = torch.cat([x] * self.bands)
        return list(self.exchange(copies, [x.shape[0]] * self.bands, rows, what).split(rows))

    def move(self, x: torch.Tensor, give: Sequence[int], take: Sequence[int], what: str) -> torch.Tensor:
        """As :meth:`exchange`, without gradients."""
        own = give[self.index]
        self.calls += 1
        self.sent[what] += (x.shape[0] - own) * x[:1].nbytes if x.shape[0] else 0
        if self.group is None:
            return x.clone()
        group = self.group.group_name
        return self._wait(FUNCTIONAL.all_to_all_single, x.contiguous(), list(take), list(give), group)

    def add(self, x: torch.Tensor, what: str) -> torch.Tensor:
        """As :meth:`total`, without gradients."""
        self._count_sum(x, what)
        if self.group is None:
            return x.clone()
        return self._wait(FUNCTIONAL.all_reduce, x.contiguous(), 'sum', self.group.group_name)

    def add_into(self, x: torch.Tensor, what: str) -> None:
        """As :meth:`add`, in place, for what is large."""
        if self.group is None:
            return
        self._count_sum(x, what)
        self._wait(FUNCTIONAL.all_reduce_, x, 'sum', self.group.group_name)

    def _count_sum(self, x: torch.Tensor, what: str) -> None:
        self.calls += 1
        # what a ring sends
        self.sent[what] += 2 * x.nbytes * (self.bands - 1) // self.bands

    def _wait(self, collective: Callable[..., torch.Tensor], *args: Any) -> torch.Tensor:
        try:
            # waits here, where a process that has ended can still be named
            return FUNCTIONAL.wait_tensor(collective(*args))
        except RuntimeError as error:
            raise _lost(self.name, error) from error


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mesh, give, take, what):
        ctx.mesh, ctx.give, ctx.take, ctx.what = mesh, give, take, what
        return mesh.move(x, give, take, what)

    @staticmethod
    def backward(ctx, grad):
        # gradients go the opposite way: what was taken is given back
        return ctx.mesh.move(grad, ctx.take, ctx.give, ctx.what), None, None, None, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mesh, what):
        ctx.mesh, ctx.what = mesh, what
        return mesh.add(x, what)

    @staticmethod
    def backward(ctx, grad):
        # every band has used the total, so its gradient is the sum over bands
        return ctx.mesh.add(grad, ctx.what), None, None


def check_agreement(mesh: Mesh, facts: dict[str, str]) -> None:
    """Refuse to continue if processes got different values.

    Args:
        mesh: All of its bands are asked.
        facts: What must be the same everywhere, by what users call it.

    Raises:
        SharedError: On every process: the fact, and who says what.
    """
    found = gather_objects(mesh, facts)
    for name in dict.fromkeys(name for other in found for name in other):
        for rank, other in enumerate(found):
            if other.get(name) != found[0].get(name):
                raise SharedError(
                    f'the processes disagree about the {name}: process 0 has {found[0].get(name)}, process {rank} has '
                    f'{other.get(name)}; start all of them with the same command on the same files'
                )


def gather_objects(mesh: Mesh, value: Any) -> list[Any]:
    """Plain values of all processes of a mesh, in order. Every process waits for all others."""
    if mesh.everyone is None:
        return [value]
    gathered = [None] * dist.get_world_size(mesh.everyone)
    try:
        dist.all_gather_object(gathered, value, mesh.everyone)
    except RuntimeError as error:
        raise _lost(mesh.name, error) from error
    return gathered


@contextmanager
def loss_named() -> Iterator[None]:
    """Turn the error of ``torch.distributed`` over a process that has ended into a line that names it.

    Raises:
        SagaError: Another process has ended, or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not dist.is_initialized() or dist.get_world_size() == 1 or not _is_lost(error):
            raise
        raise _lost(f'process {dist.get_rank()}', error) from error


def _is_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)


def _lost(name: str, error: Exception) -> SagaError:
    # a library's advice comes after the first sentence
    reason = ' '.join(str(error).split()).split('. This is')[0][-160:]
    who = Peers.ended() or f'a process that has ended or does not answer ({reason})'
    kind = partial(SharedError, tells=Peers.is_first_left()) if Peers.ended() else SagaError
    return kind(
        f'{name} waits for {who}; look for the first error above, and for a machine out of memory, and start all '
        'processes again, a training with --resume'
    )
