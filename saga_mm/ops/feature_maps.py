"""Non-negative feature maps phi, applied to queries and keys of shape ``(B, N, heads, d)``."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .capture import captures_graph

# of tokens that are sharpened at a time
SLICE_BYTES = 2**20

FeatureMap = Callable[[torch.Tensor], torch.Tensor]


def elu_plus_one(x: torch.Tensor) -> torch.Tensor:
    """``elu(x) + 1`` (Katharopoulos et al., 2020), also the kernel of RALA."""
    return F.elu(x).add_(1)


def focused(x: torch.Tensor, power: int = 3, floor: float = 1e-6, scale: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Sharpen directions and keep lengths: ``y^p * |y| / |y^p|`` with ``y = (relu(x) + floor) / scale``.

    Focused Linear Attention (FLatten, ICCV 2023), equation 5 and the published floor. Both norms run over the channels
    of all heads together.

    Args:
        x: ``(B, N, heads, d)`` in at least float32; the power overflows float16 for quite ordinary activations.
        power: The focusing factor p.
        floor: Added after the ReLU so that no token is exactly zero.
        scale: Divides each channel; positive, anything that broadcasts to ``x``.

    Without gradients, on a processor, few tokens are sharpened at a time, so that their numbers stay in its cache.
    """
    scale = torch.as_tensor(scale, dtype=x.dtype, device=x.device)
    alike = math.prod(scale.shape[:-2]) == 1
    if alike and x.device.type == 'cpu' and not torch.is_grad_enabled() and not captures_graph():
        return _focused_in_slices(x, power, floor, scale)
    y = (F.relu(x) + floor) / scale
    # powers of values in (0, 1] can neither overflow nor turn a whole token into zeros
    y_max = y.amax(dim=(-2, -1), keepdim=True)
    sharp = (y / y_max) ** power
    return sharp * (_norm(y) / _norm(sharp))


def _focused_in_slices(x: torch.Tensor, power: int, floor: float, scale: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    length = max(SLICE_BYTES // (x.shape[-2] * x.shape[-1] * x.element_size()), 1)
    scale = scale.reshape(scale.shape[-2:])
    for tokens, result in zip(x.unbind(), out.unbind()):
        for part, sharp in zip(tokens.split(length), result.split(length)):
            y = part.clamp(min=0).add_(floor).div_(scale)
            y_max = y.amax(dim=(-2, -1), keepdim=True)
            norm = _norm(y.div_(y_max)) * y_max
            sharp.copy_(y.pow_(power))
            sharp.mul_(norm / _norm(sharp))
    return out


def _norm(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True)


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x


FEATURE_MAPS: dict[str, FeatureMap] = {
    'relu': F.relu,
    'elu+1': elu_plus_one,
    'focused': focused,
    'identity': _identity,
}


def get_feature_map(feature_map: str | FeatureMap) -> FeatureMap:
    """Look a feature map up by name, or pass a callable through.

    Raises:
        ValueError: If the name is unknown.
    """
    if callable(feature_map):
        return feature_map
    if feature_map not in FEATURE_MAPS:
        raise ValueError(f'unknown feature map {feature_map!r}; choose one of {", ".join(FEATURE_MAPS)}')
    return FEATURE_MAPS[feature_map]
