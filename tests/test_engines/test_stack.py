"""Detectors and segmentors of the stack on an engine."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from saga_mm.engines import use_engine
from saga_mm.engines.openvino import OpenVINOEngine
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.models.openmmlab import segment_rows
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.rows import MemoryRows, RowRunner

TESTS = Path(__file__).parents[1]
# two stages are compiled in half the time of four
TWO = {
    **{
        f'model.backbone.arch.{name}': value
        for name, value in dict(
            embed_dims=(8, 16), depths=(1, 1), num_heads=(1, 1), mlp_ratios=(2, 2), sr_ratios=(8, 4)
        ).items()
    },
    'model.backbone.out_indices': (0, 1),
    'model.neck.in_channels': [8, 16],
    'model.decode_head.in_channels': [8, 16],
    'model.decode_head.in_index': [0, 1],
    'model.decode_head.pool_scales': (1, 2),
    'model.auxiliary_head': None,
}
NECKS = [{}, {'model.neck.type': 'saga_mm.SAGAFPN'}]


def build(name: str, options: dict | None = None) -> torch.nn.Module:
    cfg = load_config(str(TESTS / name), options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return build_model(cfg).eval()


@pytest.mark.parametrize('options', NECKS, ids=['FPN', 'SAGAFPN'])
def test_backbone_and_neck_of_a_detector(cache, options):
    model, engine = build('tiny.py', options), OpenVINOEngine(cache=cache)
    with torch.no_grad():
        for image in (torch.randn(1, 3, 96, 96), torch.randn(2, 3, 75, 110)):
            use_engine(model, 'torch')
            wanted = model.extract_feat(image)
            use_engine(model, engine)
            maps = model.extract_feat(image)
            assert isinstance(maps, tuple) and len(maps) == len(wanted)
            for out, want in zip(maps, wanted):
                assert (out - want).abs().max() <= 1e-5 * want.abs().max()
    assert engine.reasons == {}


def test_a_segmentor_whole_and_in_strips(cache):
    model, engine = build('tiny_segmentation.py', TWO), OpenVINOEngine(cache=cache)
    label_by_rows(model)
    image = torch.randn(1, 3, 90, 70)
    with torch.no_grad():
        scores = model._forward(image)
        labels = model.predict(image)[0].pred_sem_seg.data
        use_engine(model, engine)
        assert (model.predict(image)[0].pred_sem_seg.data == labels).float().mean() > 0.999
        runner = RowRunner(rows=2, engine=engine)
        strips = runner.gather(segment_rows(model, MemoryRows(image.permute(0, 2, 3, 1)), runner))
    assert (strips - scores).abs().max() <= 1e-4 * scores.abs().max()
    assert engine.reasons == {}
