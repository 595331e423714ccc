"""RoIAlign (https://arxiv.org/abs/1703.06870): features within boxes, averaged over samples in each bin."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from saga_mm.errors import ArgumentError

# floats of samples at once: 64 MiB in float32
MAX_SAMPLES = 2**24


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    most_samples: int = MAX_SAMPLES,
) -> Tensor:
    """Average bilinear samples of a map within each bin of each box. Differentiable in the map.

    Args:
        features: Maps of any floating type: (B, C, H, W). Computed in float32 at least.
        rois: Index of the image, x1, y1, x2, y2 in pixels of the image: (K, 5).
        output_size: Bins down and across.
        spatial_scale: Pixels of the map a pixel of the image.
        sampling_ratio: Samples a bin along each side; 0 for about one a pixel of the map.
        aligned: Whether the centre of a pixel is half a pixel from its corner.
        most_samples: Floats of samples that are in memory at once, if a single box takes no more.

    Returns:
        Features of each box, of the map's type: (K, C, down, across).

    Raises:
        ArgumentError: A box names an image that is not there.
    """
    maps = features if features.dtype == torch.float64 else features.float()
    rois = rois.detach().to(maps)
    images = rois[:, 0].long()
    if len(rois) and not 0 <= images.min() <= images.max() < len(maps):
        raise ArgumentError('rois', images.tolist(), f'the first column names images, and there are {len(maps)}')
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    starts, sides = corners[:, [1, 0]], corners[:, [3, 2]] - corners[:, [1, 0]]
    if not aligned:
        sides = sides.clamp(min=1)
    bins = sides / sides.new_tensor(output_size)
    samples = torch.full_like(bins, sampling_ratio) if sampling_ratio > 0 else bins.ceil().clamp(min=0)

    parts, places = [], []
    for image, groups in _batches(images, samples.long(), output_size, maps.shape[1], most_samples):
        pieces = [
            _Samples(starts[chosen], bins[chosen], output_size, counts, maps.shape[2:]) for chosen, counts in groups
        ]
        grid = torch.cat([piece.grid for piece in pieces])
        # align_corners: places are given in pixels, of which the first and the last are at -1 and 1
        sampled = F.grid_sample(maps[image, None], grid[None, :, None], padding_mode='border', align_corners=True)
        sizes = [len(piece.grid) for piece in pieces]
        parts += [piece.average(values) for piece, values in zip(pieces, sampled[0, :, :, 0].split(sizes, 1))]
        places += [chosen for chosen, _ in groups]
    out = maps.new_zeros(len(rois), maps.shape[1], *output_size)
    if parts:
        out = out.index_copy(0, torch.cat(places), torch.cat(parts))
    # zeros that hang on the map: without boxes, a backward pass still finds a way to it
    elif maps.requires_grad:
        out = out + 0 * maps.sum()
    return out.to(features.dtype)


class _Samples:
    """Where boxes of one image with the same number of samples a bin are sampled.

    Args:
        starts, bins: Top left corners and sides of a bin, y before x: (K, 2).
        output_size: Bins down and across.
        counts: Samples a bin, down and across.
        size: Of the map.
    """

    def __init__(self, starts: Tensor, bins: Tensor, output_size: tuple, counts: tuple, size: torch.Size) -> None:
        self.shape = (len(starts), output_size[0], counts[0], output_size[1], counts[1])
        axes = [_positions(starts[:, i], bins[:, i], output_size[i], counts[i], size[i]) for i in (0, 1)]
        (y, y_inside), (x, x_inside) = axes
        rows, columns = y.shape[1], x.shape[1]
        across, down = x[:, None].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, columns)
        self.grid = torch.stack([across, down], -1).flatten(0, 2)
        self.inside = (y_inside[:, :, None] & x_inside[:, None]).flatten()

    def average(self, values: Tensor) -> Tensor:
        """Samples ``(C, points)`` to bins ``(K, C, down, across)``."""
        if not self.inside.all():
            values = values * self.inside
        return values.view(-1, *self.shape).mean((3, 5)).transpose(0, 1)


def _positions(start: Tensor, bin_size: Tensor, bins: int, samples: int, size: int) -> tuple[Tensor, Tensor]:
    """Places along one side, from -1 to 1 as `grid_sample` takes them, and whether they count: (K, bins * samples).

    The order of operations is that of mmcv's operators: a sample at the edge of what counts is rounded as theirs is.
    """
    at = torch.arange(bins, device=start.device)[:, None] * bin_size[:, None, None]
    within = (torch.arange(samples, device=start.device) + 0.5) * bin_size[:, None, None] / samples
    place = (start[:, None, None] + at + within).flatten(1)
    inside = (place >= -1) & (place <= size)
    return place.clamp(0, size - 1) * (2 / max(size - 1, 1)) - 1, inside


def _batches(
    images: Tensor, samples: Tensor, output_size: tuple[int, int], channels: int, most_samples: int
) -> Iterator[tuple[int, list[tuple[Tensor, tuple[int, int]]]]]:
    """Boxes to sample at once: an image, and for each number of samples a bin, which boxes have it."""
    kinds, kind_of = torch.cat([images[:, None], samples], 1).unique(dim=0, return_inverse=True)
    image, groups, points = 0, [], 0
    for kind, (image_of, *counts) in enumerate(kinds.tolist()):
        each = output_size[0] * counts[0] * output_size[1] * counts[1] * channels
        if not each:
            continue
        for chosen in (kind_of == kind).nonzero()[:, 0].split(max(1, most_samples // each)):
            if groups and (image_of != image or points + len(chosen) * each > most_samples):
                yield image, groups
                groups, points = [], 0
            image, points = image_of, points + len(chosen) * each
            groups.append((chosen, tuple(counts)))
    if groups:
        yield image, groups
