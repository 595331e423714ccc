"""The base of RALA, MALA and RAVLT's softmax: 2-D RoPE, a local branch on the values, an output gate."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, Rotation, check_head_dim, get_feature_map, map_to_tokens, rotation_2d, tokens_to_map, wide

from .token_mixer import TokenMixer, project_parts, project_values


class Projected:
    """Projections of tokens ``(B, N, C)``. Each is computed when it is first used, and once."""

    def __init__(self, mixer: 'RotaryMixer', x: torch.Tensor, grid: Grid | None) -> None:
        self.mixer, self.x, self.grid = mixer, x, grid
        self._made: dict[str, Any] = {}

    @property
    def q(self) -> torch.Tensor:
        """Queries ``(B, N, heads, d)``, mapped if there is a feature map, and then in at least float32."""
        return self._once('q', lambda: self.mixer.phi(self.mixer.heads(self.mixer.q(self.x))))

    @property
    def k(self) -> torch.Tensor:
        """Keys, like the queries."""
        return self._once('k', lambda: self.mixer.phi(self.mixer.heads(self._keys_values()[0])))

    @property
    def v(self) -> torch.Tensor:
        """Values ``(B, N, heads, d)``; without the keys, if those were not asked for before."""
        return self._once('v', lambda: self.mixer.heads(self._values()))

    @property
    def rotation(self) -> Rotation | None:
        """Rotations by the positions of the tokens; None for a class token."""
        if self.grid is None:
            return None
        return self._once('rotation', lambda: rotation_2d(self.grid, self.mixer.head_dim, self.x))

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        """Queries or keys, rotated by the positions of their tokens."""
        return x if self.rotation is None else self.rotation(x)

    def _keys_values(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._once('kv', lambda: project_parts(self.mixer.kv, self.x, 2))

    def _values(self) -> torch.Tensor:
        return self._keys_values()[1] if 'kv' in self._made else project_values(self.mixer.kv, self.x)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


class RotaryMixer(TokenMixer):
    """Base of attentions with the output ``proj((mixed + DWC(v)) * gate(x))`` and 2-D RoPE on queries and keys.

    The local branch is a depthwise convolution over all channels of the values (LePE), the gate a linear layer without
    activation, as published with RAVLT.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C, and 4 must divide the channels of a head.
        qkv_bias: Biases in the projections of q, k, v and the gate.
        local_kernel: Size of the depthwise convolution.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If ``num_heads`` does not fit ``embed_dims``, or ``local_kernel`` is even.

    Attributes:
        feature_map: Of queries and keys, or None.
        eps: Added to denominators that are means.
    """

    feature_map: str | None = None
    eps: float = 1e-6
    takes_class_token = True

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        local_kernel: int = 5,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.divide_heads(embed_dims, num_heads)
        if local_kernel % 2 == 0:
            raise ValueError(f'local_kernel must be odd, got {local_kernel}')
        check_head_dim(self.head_dim)
        self.halo = local_kernel // 2
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims, bias=qkv_bias)
        self.gate = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.lepe = nn.Conv2d(embed_dims, embed_dims, local_kernel, padding=self.halo, groups=embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.apply(init_weights)
        # after the others: RAVLT draws this kernel as it draws linear layers, not by its fan
        nn.init.trunc_normal_(self.lepe.weight, std=0.02)

    def project(self, x: torch.Tensor, grid: Grid | None) -> Projected:
        """Queries, keys, values and rotations of the tokens ``x`` at ``grid``."""
        return Projected(self, x, grid)

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        """The feature map of queries and keys, in at least float32; without one, ``x`` as it is."""
        return x if self.feature_map is None else get_feature_map(self.feature_map)(wide(x))

    def finish(self, x: torch.Tensor, mixed: torch.Tensor, v: torch.Tensor, grid: Grid | None) -> torch.Tensor:
        """Local branch, gate and last projection around what was mixed, ``(B, N, heads, d)`` like ``v``."""
        if grid is None:
            return self.proj(mixed.flatten(2).to(v.dtype) * self.gate(x))
        # a state answers in at least float32; what follows runs in the type of the layers
        local = map_to_tokens(self.lepe(tokens_to_map(v.flatten(2), grid)))
        return self.proj((mixed.flatten(2).to(local.dtype) + local) * self.gate(x))

    def write(self, x: torch.Tensor, grid: Grid | None, state: Any = None) -> Any:
        return self.write_projected(self.project(x, grid), state)

    def read(self, x: torch.Tensor, grid: Grid | None, state: Any) -> torch.Tensor:
        projected = self.project(x, grid)
        return self.finish(x, self.read_projected(projected, state), projected.v, grid)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        projected, state = self.project(x, grid), None
        for _ in range(self.sweeps):
            state = self.write_projected(projected, state)
        return self.finish(x, self.read_projected(projected, state), projected.v, grid)

    def write_projected(self, tokens: Projected, state: Any) -> Any:
        """What :meth:`write` does with tokens that are projected already."""
        raise NotImplementedError

    def read_projected(self, tokens: Projected, state: Any) -> torch.Tensor:
        """What ``state`` answers to the queries, ``(B, N, heads, d)``."""
        raise NotImplementedError
