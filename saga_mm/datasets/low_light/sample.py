"""The data sample of an image for low-light enhancement."""

from mmengine.structures import BaseDataElement


class LowLightSample(BaseDataElement):
    """The bright picture that is wanted and the one that a model made, as far as they are there.

    ``img_path``, ``gt_path`` and ``ori_shape``, ``(H, W)`` of the file, are metainfo.

    Attributes:
        gt_img: Tensor ``(3, H, W)``: uint8 BGR as packed, float RGB in [0, 1] after the model's preprocessor.
        pred_img: Tensor ``(3, H, W)``: float32 RGB in [0, 1].
    """
