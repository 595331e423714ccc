"""Products of many tokens with a small matrix, without gradients, as a processor's libraries are fast at them."""

import torch

Layer = tuple[torch.Tensor, torch.Tensor | None]
Norm = tuple[torch.Tensor, torch.Tensor, float]
Product = tuple[torch.Tensor, torch.Tensor | None]

# up to this many channels in or out a library divides a product badly among threads, and a bias takes long to add
NARROW = 128
FEWEST_ROWS = 64
FEWEST_SUMMED = 512


def turned(weight: torch.Tensor) -> torch.Tensor:
    """The weight ``(D, C)`` of a layer as the matrix ``(C, D)`` of :func:`multiply`, laid out so if it is narrow."""
    return weight.t().contiguous() if min(weight.shape) <= NARROW else weight.t()


def multiply(x: torch.Tensor, matrix: torch.Tensor, out: torch.Tensor, add: bool = False) -> torch.Tensor:
    """``x @ matrix``, written to ``out`` or added to it.

    Where the matrix is narrow, tokens are multiplied in as many groups as keep all threads busy: a batch of products is
    divided among threads by its groups, a single one by rows or columns or the sum, which a library guesses.

    Args:
        x: ``(N, C)``.
        matrix: ``(C, D)``.
        out: Contiguous, ``(N, D)``.
        add: Whether to add to what is there.

    Returns:
        ``out``.
    """
    # called so often that what surrounds a product counts: no call that Python makes of several
    (count, channels), width = x.shape, matrix.shape[1]
    groups = 2 * torch.get_num_threads() if min(channels, width) <= NARROW and _is_wide(x) else 1
    if groups == 1 or count < groups * FEWEST_ROWS:
        return out.addmm_(x, matrix) if add else torch.mm(x, matrix, out=out)
    tokens, answers = x, out
    if rest := count % groups:
        multiply(x[-rest:], matrix, out[-rest:], add)
        tokens, answers = x[:-rest], out[:-rest]
    tokens, answers = tokens.view(groups, -1, channels), answers.view(groups, -1, width)
    matrices = matrix.expand(groups, channels, width)
    answers.baddbmm_(tokens, matrices) if add else torch.bmm(tokens, matrices, out=answers)
    return out


def linear(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor) -> torch.Tensor:
    """``x @ matrix + bias`` in the first rows of ``out``, a buffer for as many tokens as ``x`` or more."""
    out = out[: x.shape[0]]
    if bias is None:
        return multiply(x, matrix, out)
    if min(matrix.shape) > NARROW:
        return torch.addmm(bias, x, matrix, out=out)
    return multiply(x, matrix, out.copy_(bias), add=True)


def summed_parts(heads: int, tokens: int, like: torch.Tensor) -> int:
    """In how many parts :func:`add_outer` had better sum over as many tokens: threads share heads and parts."""
    workers = 2 * torch.get_num_threads()
    # what a trace counts shall not depend on the machine
    if heads % workers == 0 or type(like) is not torch.Tensor:
        return 1
    return max(min(workers, tokens // FEWEST_SUMMED), 1)


def add_outer(sums: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
    """Add ``sum_n x_n^T y_n`` of each head to what the parts of ``sums`` hold together.

    A library's threads share the sums of a batch; the tokens of a single sum they hardly do.

    Args:
        sums: ``(heads, parts, D, E)``.
        x: ``(N, heads * D)``.
        y: ``(N, heads * E)``.
    """
    heads, parts = sums.shape[:2]
    x_heads, y_heads = (tokens.unflatten(-1, (heads, -1)).transpose(0, 1) for tokens in (x, y))
    if parts == 1:
        sums[:, 0].baddbmm_(x_heads.transpose(1, 2), y_heads)
        return
    whole = len(x) - len(x) % parts
    if whole:
        for sum_, x_head, y_head in zip(sums, x_heads[:, :whole], y_heads[:, :whole], strict=True):
            x_parts, y_parts = (tokens.unflatten(0, (parts, -1)) for tokens in (x_head, y_head))
            sum_.baddbmm_(x_parts.transpose(1, 2), y_parts)
    if whole < len(x):
        add_outer(sums[:, :1], x[whole:], y[whole:])


def fold_norm(norm: Norm, weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    """Scale and shift of a LayerNorm in the layer behind it, for tokens from which mean and deviation are taken.

    A narrow layer gets its bias into its matrix, too, for these tokens **plus one**: they sum to zero over their C
    channels, so ``(x + 1) (M + 1 t^T) = x M + sum_c M_c + C t``, and t is what makes the last two terms the bias.

    Returns:
        Matrix and bias for :func:`linear`; no bias if the tokens are to be those plus one.
    """
    scale, shift, _ = norm
    matrix, moved = weight * scale, weight @ shift
    if bias is not None:
        moved += bias
    if not _folds(weight):
        return turned(matrix), moved
    matrix += ((moved - matrix.sum(1)) / weight.shape[1]).unsqueeze(1)
    return turned(matrix), None


def behind_norm(norm: Norm, *layers: Layer) -> tuple[Norm, list[Product]]:
    """A LayerNorm and what :func:`linear` takes for each layer ``(D, C)`` behind it: narrow ones are folded."""
    scale, _, eps = norm
    if not _folds(layers[0][0]):
        return norm, [(turned(weight), bias) for weight, bias in layers]
    one = torch.ones_like(scale)
    return (one, one, eps), [fold_norm(norm, *layer) for layer in layers]


def takes_ones(x: torch.Tensor) -> bool:
    """Whether a bias had better be one more row of its matrix, for tokens like ``x`` that end in a one.

    That saves a pass over the answers, and costs an odd number of rows, which is dear without AVX-512.
    """
    # what a trace counts shall not depend on the machine
    real = type(x) is torch.Tensor
    return real and x.shape[-1] <= NARROW and _is_wide(x) and torch.backends.cpu.get_cpu_capability() == 'AVX512'


def ones_for(tokens: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """A buffer ``(tokens, channels + 1)`` of ones, whose rows begin at multiples of 16 numbers, as vectors do."""
    return like.new_ones(tokens, (channels // 16 + 1) * 16)[:, : channels + 1]


def _folds(weight: torch.Tensor) -> bool:
    # to prepare a wide one takes as long as to add its bias
    return weight.shape[1] <= NARROW and _is_wide(weight)


def _is_wide(x: torch.Tensor) -> bool:
    return x.dtype in (torch.float32, torch.float64)
