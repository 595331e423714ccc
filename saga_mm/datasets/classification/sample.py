"""The data sample of an image for classification."""

from mmengine.structures import BaseDataElement


class ClassSample(BaseDataElement):
    """The class of an image and what a model found, as far as they are there.

    ``img_path``, ``ori_shape`` and ``img_shape``, ``(H, W)``, are metainfo.

    Attributes:
        gt_label: The class, an integer tensor without dimensions.
        pred_score: Probability of each class, ``(num_classes,)``.
        pred_label: The most probable class.
    """
