"""Heads of classifiers: pooling, norms and losses."""

import torch
import torch.nn.functional as F

from saga_mm.models.classification import ConvClsHead, LinearClsHead


def test_label_smoothing_of_labels_and_of_shares_is_the_same():
    head = LinearClsHead(4, 8, label_smooth=0.1)
    logits, labels = torch.randn(3, 4), torch.tensor([0, 2, 3])
    target = 0.9 * F.one_hot(labels, 4) + 0.1 / 4
    by_hand = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(head.loss(logits, labels), by_hand)
    torch.testing.assert_close(head.loss(logits, F.one_hot(labels, 4).float()), by_hand)


def test_conv_head_normalises_before_the_mean():
    head = ConvClsHead(3, 4, hidden_channels=6).eval()
    plane = torch.randn(2, 4, 3, 5)
    x = F.silu(head.bn(F.conv2d(plane, head.proj.weight, head.proj.bias))).mean((2, 3))
    torch.testing.assert_close(head([plane]), x @ head.fc.weight.T + head.fc.bias)
