"""Logits of the published classifiers, heads and class tokens included."""

import pytest
import torch

from saga_mm.models.backbones import cswin, named, pvt, pvt_v2, ravlt, swin
from saga_mm.models.classification import ImageClassifier
from saga_mm.models.classification.published_classifiers import published_classifier

CASES = {
    'pvt_tiny': (pvt, 'pvt_tiny', 512, {'class_token': True}, {'pooling': 'token', 'norm_eps': 1e-6}),
    'flatten_pvt_tiny': (pvt, 'flatten_pvt_tiny', 512, {}, {}),
    'pvt_v2_b0': (pvt_v2, 'pvt_v2_b0', 256, {}, {}),
    'flatten_pvt_v2_b0': (pvt_v2, 'flatten_pvt_v2_b0', 256, {}, {}),
    'flatten_swin_t': (swin, 'flatten_swin_tiny', 768, {}, {}),
    'flatten_cswin_t': (cswin, 'flatten_cswin_tiny', 512, {}, {}),
    'ravlt_t': (ravlt, 'ravlt_tiny', 512, {'out_norm': False}, {'type': 'ConvClsHead'}),
}


@pytest.mark.usefixtures('without_first_weights')
@pytest.mark.parametrize('name', CASES)
def test_logits_are_the_published_ones(golden, name):
    host, variant, channels, options, head = CASES[name]
    case = golden(name)
    model = ImageClassifier(
        {**named.VARIANTS[variant], 'out_indices': (3,), **options},
        {'type': 'LinearClsHead', 'num_classes': 1000, 'in_channels': channels, **head},
    ).eval()
    model.load_state_dict(published_classifier(case.state, host))
    # one image, since that is what takes the time
    with torch.no_grad():
        logits = model(case.image[:1])
    stored, step = case.output('logits')
    assert step == 1
    torch.testing.assert_close(logits.flatten(), stored.flatten()[:1000], rtol=1e-4, atol=1e-4)
