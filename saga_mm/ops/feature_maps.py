"""Non-negative feature maps phi, applied to queries and keys of shape ``(B, N, heads, d)``."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

FeatureMap = Callable[[torch.Tensor], torch.Tensor]


def elu_plus_one(x: torch.Tensor) -> torch.Tensor:
    """``elu(x) + 1`` (Katharopoulos et al., 2020), also the kernel of RALA."""
    # in place: the gradient of elu is computed from its input, not from this result
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
    """
    y = (F.relu(x) + floor) / scale
    # powers of values in (0, 1] can neither overflow nor turn a whole token into zeros
    y_max = y.amax(dim=(-2, -1), keepdim=True)
    sharp = (y / y_max) ** power
    return sharp * (_norm(y) / _norm(sharp))


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
