"""The model for low-light enhancement, for training and for images of any size."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.foundation import BaseDataPreprocessor, BaseModel
from saga_mm.models.backbones.chunks import engine_for, run_on
from saga_mm.models.saved_folders import Savable
from saga_mm.ops import known_equal, round_up
from saga_mm.registry import MODELS

from .edges import use_repeated_edges
from .exposure import expose, luminance
from .finish import Finish, finish_image

LARGEST_DIVISOR = 256
EDGES = ('zeros', 'replicate')
# what an enhancer is built of; losses and preprocessing are for training
PARTS = ('backbone', 'neck', 'head', 'pad_divisor', 'exposure', 'edges')
# of the loss that teaches how bright an image should be
BRIGHTNESS_WEIGHT = 0.1


@MODELS.register_module()
class LowLightPreprocessor(BaseDataPreprocessor):
    """From what the data sets pack to float images, RGB in [0, 1].

    Images of one size become a batch ``(B, 3, H, W)``; of several sizes, a list of batches of one image each, because
    what is padded would change the tone of an image.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """``dict(inputs=..., data_samples=...)``; ``gt_img`` of the samples is converted in the same way.

        Args:
            data: ``inputs`` is a batch or a list of ``(3, H, W)`` uint8, BGR.
            training: No difference.
        """
        data = self.cast_data(data)
        samples = data.get('data_samples')
        for sample in samples or ():
            if 'gt_img' in sample:
                sample.gt_img = _unit_rgb(sample.gt_img)
        images = [_unit_rgb(image) for image in data['inputs']]
        alike = len({image.shape for image in images}) == 1
        return {'inputs': torch.stack(images) if alike else [image[None] for image in images], 'data_samples': samples}


@MODELS.register_module()
class LowLightEnhancer(Savable, BaseModel):
    """Enhances dark images: a trunk, an optional neck, and a head at full resolution.

    Args:
        backbone: Config of any registered backbone, called with ``(B, 3, H, W)`` in [0, 1].
        head: Config of an :class:`EnhancementHead`; ``in_channels`` and ``strides`` are taken from a backbone that
            tells them (``out_channels``, ``strides``) where they are left out.
        neck: Config of a neck between them, or None.
        losses: Configs of losses of the answer and the ground truth; their sum is trained, and each is logged by
            its kind (:func:`loss_names`).
        pad_divisor: Images are padded below and to the right to multiples of this, by their last row and column.
        exposure: Config of an :class:`Exposure`, which is applied to images first, or None: then the trunk sets the
            brightness.
        edges: What convolutions of the trunk, neck and head see beyond the edges of a map: ``'zeros'``, or
            ``'replicate'`` for its outermost rows and columns, so that these come out as bright as others.
        data_preprocessor: Config; :class:`LowLightPreprocessor` unless given.
        init_cfg: Initialisation config of mmengine.

    Attributes:
        licence: Of weights that were loaded from a file that names one.
    """

    kind = 'enhancer'

    def __init__(
        self,
        backbone: dict,
        head: dict | None = None,
        neck: dict | None = None,
        losses: Sequence[dict] = ({'type': 'saga_mm.CharbonnierLoss'},),
        pad_divisor: int = 8,
        exposure: dict | None = None,
        edges: str = 'zeros',
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {'type': 'saga_mm.LowLightPreprocessor'}, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck else None
        names = {'in_channels': 'out_channels', 'strides': 'strides'}
        known = {key: getattr(self.backbone, name) for key, name in names.items() if hasattr(self.backbone, name)}
        self.head = MODELS.build({'type': 'saga_mm.EnhancementHead', **known, **(head or {})})
        self.losses = nn.ModuleList(MODELS.build(loss) for loss in losses)
        if type(pad_divisor) is not int or not 1 <= pad_divisor <= LARGEST_DIVISOR:
            raise ValueError(f'pad_divisor must be a number from 1 to {LARGEST_DIVISOR}, got {pad_divisor!r}')
        self.pad_divisor = pad_divisor
        self.exposure = MODELS.build(exposure) if exposure else None
        self.licence = ''
        if edges not in EDGES:
            raise ValueError(f'edges={edges!r} must be one of {", ".join(EDGES)}')
        self.edges = edges
        if edges == 'replicate':
            use_repeated_edges(self)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> 'LowLightEnhancer':
        """The model of a folder, without losses."""
        return cls(**{key: config[key] for key in PARTS if key in config}, losses=())

    def forward(
        self, inputs: torch.Tensor | list[torch.Tensor], data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Answers (``'tensor'``, not clamped), samples with ``pred_img`` (``'predict'``), or losses (``'loss'``).

        Args:
            inputs: ``(B, 3, H, W)`` in [0, 1], or a list of such batches of different sizes.
            data_samples: One for each image; with ``gt_img`` for losses.
            mode: As above.

        Raises:
            ValueError: If the mode is unknown, or images to train on differ in size.
        """
        if mode == 'tensor':
            return self.answer(inputs)
        if mode == 'loss':
            return self._loss(inputs, data_samples)
        if mode != 'predict':
            raise ValueError(f"mode={mode!r} is none of 'tensor', 'predict' and 'loss'")
        batches = inputs if isinstance(inputs, list) else [inputs]
        answers = [image for batch in batches for image in self.answer(batch).clamp(0, 1)]
        for sample, answer in zip(data_samples, answers, strict=True):
            sample.pred_img = answer
        return data_samples

    @torch.inference_mode()
    def enhance(
        self, images: torch.Tensor, strength: float = 1.0, brightness: float | None = None, denoise: float = 1.0
    ) -> torch.Tensor:
        """Enhanced images, ``(B, 3, H, W)`` in [0, 1], of such images of any size.

        Args:
            images: The images.
            strength: 0 gives them back as they are, 1 the model's answer; between and beyond, on the line through both.
            brightness: Mean luminance that the answer shall have, in (0, 1); None for what the model predicts.
            denoise: 1 leaves the answer as it is, 0 gives back the images' own detail and noise.

        Raises:
            ArgumentError: No curve reaches the brightness.
        """
        if strength == 0:
            return images.clone()
        wanted = None if brightness is None else images.new_full((len(images),), brightness)
        return finish_image(images, self.answer(images, wanted), Finish(strength, brightness, denoise))

    def _loss(self, inputs: torch.Tensor | list[torch.Tensor], data_samples: list) -> dict[str, torch.Tensor]:
        if isinstance(inputs, list):
            raise ValueError('images to train on differ in size: add saga_mm.PairRandomCrop to the pipeline')
        target = torch.stack([sample.gt_img for sample in data_samples])
        losses, wanted = {}, None
        if self.exposure is not None:
            # the trunk learns what is left to do at the right brightness, which is learned by itself
            wanted = luminance(target)
            error = (self.exposure.predict(self.exposure.measure(inputs)) - wanted).abs().mean()
            losses['loss_brightness'] = BRIGHTNESS_WEIGHT * error
        answer = self.answer(inputs, wanted)
        names = loss_names(self.losses)
        return {**losses, **{name: loss(answer, target) for name, loss in zip(names, self.losses)}}

    def answer(self, images: torch.Tensor | list[torch.Tensor], wanted: torch.Tensor | None = None) -> torch.Tensor:
        """The answer to images ``(B, 3, H, W)``, not clamped, before all that users may want otherwise.

        Args:
            images: RGB in [0, 1].
            wanted: Mean luminance that each is exposed to, ``(B,)``; None, or 0, for what the model predicts.
        """
        inputs, engine = [images], engine_for(self, images)
        if self.exposure is not None:
            inputs.append(self.exposure.gain(self.exposure.measure(images), wanted))
        return self._compute(*inputs) if engine is None else run_on(engine, [self], self._compute, *inputs)

    def _compute(self, images: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        if gain is not None:
            images = expose(images, gain)
        height, width = images.shape[2:]
        below, right = (round_up(side, self.pad_divisor) - side for side in (height, width))
        # a graph for images of any size pads them all
        fits = known_equal((below, right), (0, 0))
        padded = images if fits else F.pad(images, (0, right, 0, below), mode='replicate')
        maps = self.backbone(padded)
        if self.neck is not None:
            maps = self.neck(maps)
        return self.head(maps, padded)[:, :, :height, :width]


def loss_names(losses: Iterable[nn.Module]) -> list[str]:
    """What a log calls losses: ``loss_ssim``, the second of a kind ``loss_ssim_2``."""
    names = [f'loss_{type(loss).__name__.removesuffix("Loss").lower()}' for loss in losses]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f'{name}_{count}' for name, count in zip(names, counts)]


def _unit_rgb(image: torch.Tensor) -> torch.Tensor:
    return image.flip(0).float() / 255
