"""The graphs that are exported, one class for each kind, and the reference answers of the model."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from saga_mm.models.enhancement import Exposure, LowLightEnhancer
from saga_mm.models.enhancement.exposure import SPARSE, STOPS, ExposureState, expose, luminance
from saga_mm.models.enhancement.finish import mix
from saga_mm.onnx.file import BRIGHTNESS, ENHANCED, IMAGE, STRENGTH

Answers = Sequence[torch.Tensor]


class ExportGraph(nn.Module):
    """What a file computes, built on a copy of a model in which parts without a form in ONNX are replaced.

    Args:
        model: The model, which stays as it is.

    Attributes:
        kind: Of :data:`saga_mm.onnx.facts.KINDS`.
        input: What the image is, in words.
        output: What the outputs are, in words.
        pad_divisor: The graph pads images to multiples of this.
    """

    kind: str
    input: str
    output: str
    pad_divisor = 1

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # in a tuple, so that it is no part of the graph
        # the model is kept beside its replacement, to be compared with
        # on the CPU in float32: so are the graph that is traced and the answers that it is compared with
        self.original = (copy.deepcopy(model).cpu().float().eval(),)
        self.model = exportable(self.original[0])
        self.eval()

    def sample(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """An image of random numbers, ``(1, 3, H, W)``: whole ones from 0 to 255 unless the kind takes others."""
        return torch.randint(0, 256, (1, 3, height, width), generator=generator).float()

    def examples(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """A value for each input, by name."""
        return {IMAGE: image}

    @abstractmethod
    def outputs(self) -> list[str]:
        """Names of the outputs."""

    @abstractmethod
    def reference(self, image: torch.Tensor) -> Answers:
        """The model's own answers, by the code that predicts with a checkpoint."""

    def difference(self, answers: Answers, reference: Answers) -> float:
        """The largest difference, relative to the largest value of an answer where that is above 1."""
        if [each.shape for each in answers] != [each.shape for each in reference]:
            return float('inf')
        pairs = zip(answers, reference)
        return max(((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in pairs)


class BackboneGraph(ExportGraph):
    """The maps of a backbone."""

    kind = 'backbone'
    input = 'image: float32 (1, 3, height, width), normalised as the weights were trained'
    output = 'map_0, map_1, ...: float32 (1, channels, rows, columns), one of each stage that the backbone gives'

    def sample(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(1, 3, height, width, generator=generator)

    def outputs(self) -> list[str]:
        return [f'map_{index}' for index in range(len(self.model.out_indices))]

    def forward(self, image: torch.Tensor) -> Answers:
        return tuple(self.model(image))

    def reference(self, image: torch.Tensor) -> Answers:
        return tuple(self.original[0](image))


class EnhancerGraph(ExportGraph):
    """:meth:`LowLightEnhancer.enhance`, with the strength as an input or as a constant.

    Beside a strength that is an input, a model with an exposure has the mean luminance that the image is exposed to.
    The curve that brings the answer itself to that mean is left to the program that runs the file.

    Args:
        model: The model.
        strength: The constant; None for an input.
    """

    kind = 'enhancer'
    output = 'enhanced: float32 (1, 3, height, width), RGB in [0, 1]'
    checked_strength, checked_brightness = 0.8, 0.3

    def __init__(self, model: LowLightEnhancer, strength: float | None = None) -> None:
        super().__init__(model)
        self.strength, self.pad_divisor = strength, model.pad_divisor
        self.exposes = strength is None and model.exposure is not None
        self.input = 'image: float32 (1, 3, height, width), RGB in [0, 1]'
        if strength is None:
            self.input += '; strength: a float32 number, 0 gives the image as it is, 1 the full answer'
        if self.exposes:
            self.input += '; brightness: a float32 number, the mean luminance to expose to, 0 for the predicted one'

    def sample(self, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(1, 3, height, width, generator=generator)

    def examples(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        strength = {STRENGTH: torch.tensor(self.checked_strength)} if self.strength is None else {}
        brightness = {BRIGHTNESS: torch.tensor(self._brightness(image))} if self.exposes else {}
        return {IMAGE: image, **strength, **brightness}

    def outputs(self) -> list[str]:
        return [ENHANCED]

    def _brightness(self, image: torch.Tensor) -> float:
        """What is checked with an image: the predicted brightness where its height is odd, else a given one."""
        return 0.0 if image.shape[2] % 2 else self.checked_brightness

    def forward(
        self,
        image: torch.Tensor,
        strength: torch.Tensor | None = None,
        brightness: torch.Tensor | None = None,
    ) -> torch.Tensor:
        answer = self.model.answer(image, brightness)
        if self.strength is not None:
            return mix(image, answer, self.strength)
        # as mix(), which asks whether the strength is 1: in a graph it is a tensor, of which nothing can be asked
        return torch.lerp(image, answer, strength).clamp(0, 1)

    def reference(self, image: torch.Tensor) -> Answers:
        strength = self.checked_strength if self.strength is None else self.strength
        wanted = torch.tensor([self._brightness(image)]) if self.exposes else None
        return (mix(image, self.original[0].answer(image, wanted), strength),)


class AdaptiveMean(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two matrix products, for maps of any size.

    PyTorch's exporter gathers the pixels of each cell by indices that it computes for the size of the example, so its
    graph is wrong at any other size.

    Args:
        size: ``(rows, columns)`` of the result.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (_cells(count, side, x) for count, side in zip(self.size, x.shape[2:]))
        return rows @ x @ columns.transpose(0, 1)


class ExposureAtOnce(Exposure):
    """An exposure that tries all gains at once: a graph with operators for each of them takes long to make and to load.

    Args:
        exposure: The exposure that it equals.
    """

    peak_floats_per_token = 4 * 3 * len(STOPS) / SPARSE**2

    def __init__(self, exposure: Exposure) -> None:
        super().__init__(exposure.fc1.out_features)
        self.load_state_dict(exposure.state_dict())

    def measure(self, image: torch.Tensor) -> ExposureState:
        x = image[None, :, :, ::SPARSE, ::SPARSE]
        gains = torch.tensor([2.0**stops for stops in STOPS]).view(-1, 1, 1, 1, 1)
        levels = luminance(expose(x, gains).flatten(0, 1)).unflatten(0, (len(STOPS), image.shape[0]))
        return ExposureState(levels.transpose(0, 1), 1)


def _cells(count: int, side: int, like: torch.Tensor) -> torch.Tensor:
    """The share of each of ``side`` places in each of ``count`` means."""
    # the borders of nn.AdaptiveAvgPool2d: from floor(i * side / count) to ceil((i + 1) * side / count)
    index, place = torch.arange(count)[:, None], torch.arange(side)[None]
    start, stop = index * side // count, ((index + 1) * side + count - 1) // count
    inside = ((place >= start) & (place < stop)).to(like.dtype)
    return inside / (stop - start).to(like.dtype)


def exportable(model: nn.Module) -> nn.Module:
    """A copy of a model in which layers whose export would be wrong or large are replaced by equal ones."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                size = child.output_size if isinstance(child.output_size, (list, tuple)) else (child.output_size,) * 2
                if None not in size:
                    setattr(parent, name, AdaptiveMean(size))
            elif isinstance(child, Exposure):
                setattr(parent, name, ExposureAtOnce(child))
    return model
