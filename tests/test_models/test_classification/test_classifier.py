"""The classifier: modes, targets, mixed batches."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.datasets.classification.sample import ClassSample
from saga_mm.models.classification import CutMix, ImageClassifier, LinearClsHead, Mixup

SMALL = {
    'type': 'PVT',
    'arch': {
        'embed_dims': (8, 16, 24, 32),
        'depths': (1, 1, 1, 1),
        'num_heads': (1, 2, 3, 4),
        'mlp_ratios': (2,) * 4,
        'sr_ratios': (1,) * 4,
    },
    'drop_path_rate': 0.0,
    'pretrain_img_size': 64,
}
HEAD = {'type': 'LinearClsHead', 'num_classes': 5, 'in_channels': 32}


def samples(*labels):
    found = [ClassSample() for _ in labels]
    for sample, label in zip(found, labels):
        sample.gt_label = torch.tensor(label)
    return found


def test_modes_agree_with_each_other():
    model = ImageClassifier(SMALL, HEAD).eval()
    images = torch.randn(2, 3, 41, 66)
    logits = model(images)
    assert logits.shape == (2, 5)
    found = model(images, samples(0, 3), mode='predict')
    for sample, row in zip(found, logits):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_label == row.argmax()
    loss = model(images, samples(0, 3), mode='loss')['loss']
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([0, 3])))
    with pytest.raises(ValueError, match="mode='other' is none of"):
        model(images, mode='other')


def test_preprocessor_normalises_rgb():
    model = ImageClassifier(SMALL, HEAD)
    image = torch.full((3, 4, 4), 255, dtype=torch.uint8)
    out = model.data_preprocessor({'inputs': [image], 'data_samples': samples(1)}, training=True)['inputs']
    blue = torch.zeros(3, 4, 4, dtype=torch.uint8)
    blue[0] = 255
    mixed = model.data_preprocessor({'inputs': [blue], 'data_samples': samples(1)})['inputs']
    torch.testing.assert_close(
        out[0, :, 0, 0], (255 - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375])
    )
    assert mixed[0, 2, 0, 0] > 0 > mixed[0, 0, 0, 0]


def test_class_token_is_seen_by_the_map_and_sees_it():
    model = ImageClassifier({**SMALL, 'attention': 'softmax', 'class_token': True}, {**HEAD, 'pooling': 'token'}).eval()
    token = model.backbone.stages[-1].class_token
    images = torch.randn(1, 3, 64, 32)
    logits, maps = model(images), model.backbone(images)
    assert not torch.allclose(model(images.flip(2)), logits)
    with torch.no_grad():
        token += torch.randn(32)
    after = model.backbone(images)
    assert torch.equal(maps[2], after[2]) and not torch.allclose(maps[3], after[3])
    with pytest.raises(ValueError, match="pooling='token' needs a backbone with class_token=True, this PVT has none"):
        ImageClassifier(SMALL, {**HEAD, 'pooling': 'token'})
    with pytest.raises(ValueError, match="unknown pooling='max'; choose one of mean, token"):
        LinearClsHead(4, 8, pooling='max')


def test_batches_of_a_training_are_mixed():
    model = ImageClassifier(SMALL, HEAD, train_cfg={'augments': [{'type': 'Mixup'}, {'type': 'CutMix', 'alpha': 0.5}]})
    assert [type(augment) for augment in model.augments] == [Mixup, CutMix] and model.augments[1].alpha == 0.5
    loss = model(torch.randn(2, 3, 64, 64), samples(0, 3), mode='loss')['loss']
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
