"""Image classification: a backbone, pooling and a linear layer."""

from .classifier import ClassificationPreprocessor, ImageClassifier
from .cls_heads import ConvClsHead, LinearClsHead
from .mixing import CutMix, Mixup

__all__ = ['ClassificationPreprocessor', 'ConvClsHead', 'CutMix', 'ImageClassifier', 'LinearClsHead', 'Mixup']
