import json
from pathlib import Path

import pytest
from mmengine.config import Config

from saga_mm.errors import SagaError
from saga_mm.loading.config import load_config
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks.detection.data import DetectionData
from saga_mm.tasks.own_data import OwnData, class_counts, set_num_classes, use_own_data


@pytest.fixture
def data(tmp_path) -> Path:
    categories = [{'id': 7, 'name': 'cat'}, {'id': 3, 'name': 'dog'}, {'id': 9, 'name': 'owl'}]
    for part in ('train', 'val'):
        (tmp_path / part).mkdir()
        (tmp_path / f'{part}.json').write_text(json.dumps({'images': [], 'annotations': [], 'categories': categories}))
    return tmp_path


PATHS = dict(train_ann='train.json', val_ann='val.json', train_img='train', val_img='val')


def own(data: Path, **change: str | None) -> OwnData:
    return OwnData(**{'data_root': str(data), **PATHS, **change})


def test_config_points_at_the_data(data):
    cfg = load_config('saga_maskrcnn.py')
    use_own_data(cfg, own(data))
    for part, name in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.type == 'CocoDataset' and dataset.data_root == ''
        assert dataset.ann_file == str(data / f'{name}.json') and dataset.data_prefix.img == f'{data / name}/'
        assert dataset.metainfo.classes == ('cat', 'dog', 'owl') and len(set(dataset.metainfo.palette)) == 3
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == str(data / 'val.json')
    assert {count for _, count in class_counts(cfg.model, DetectionData.compared)} == {
        3
    } and cfg.model.roi_head.mask_head.num_classes == 3
    assert 'demo_data' not in cfg


def test_without_a_root_paths_are_relative_to_where_one_is(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    name = data.name
    cfg = load_config('saga_maskrcnn.py')
    use_own_data(cfg, own(data, data_root=None, **{key: f'{name}/{path}' for key, path in PATHS.items()}))
    assert cfg.train_dataloader.dataset.ann_file == str(data / 'train.json')
    # and so are completed paths beside a root, if the root has no such file
    use_own_data(cfg, own(data, data_root=name, train_ann=f'{name}/train.json'))
    assert cfg.train_dataloader.dataset.ann_file == str(data / 'train.json')
    assert cfg.val_dataloader.dataset.ann_file == str(data / 'val.json')
    # images lie in the root itself unless said otherwise
    use_own_data(cfg, own(data, train_img=None))
    assert cfg.train_dataloader.dataset.data_prefix.img == f'{data}/'


def test_nothing_given_changes_nothing():
    cfg = load_config('saga_maskrcnn.py')
    before = cfg.to_dict()
    use_own_data(cfg, OwnData())
    assert cfg.to_dict() == before


@pytest.mark.parametrize(('lacking', 'option'), [('val_ann', '--val-ann'), ('train_ann', '--train-ann')])
def test_half_of_the_data(data, lacking, option):
    cfg = load_config('saga_maskrcnn.py')
    with pytest.raises(SagaError, match=rf'--data-root.* needs {option} as well: the COCO annotation file of'):
        use_own_data(cfg, own(data, **{lacking: None}))


def test_testing_needs_the_validation_part_alone(data):
    cfg = load_config('saga_maskrcnn.py')
    use_own_data(cfg, own(data, train_ann=None, train_img=None), training=False)
    assert cfg.test_dataloader.dataset.ann_file == str(data / 'val.json')


def test_missing_annotations(data):
    with pytest.raises(SagaError, match=r'gone\.json'):
        use_own_data(load_config('saga_maskrcnn.py'), own(data, train_ann='gone.json'))


def test_wrapped_and_joined_data_sets(data):
    inner = dict(type='CocoDataset', ann_file='a')
    cfg = load_config('saga_maskrcnn.py')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    use_own_data(cfg, own(data))
    assert cfg.train_dataloader.dataset.dataset.ann_file == str(data / 'train.json')
    joined = dict(type='ConcatDataset', datasets=[inner, dict(type='RepeatDataset', dataset=inner)])
    assert list(leaf_datasets(joined)) == [inner, inner]
    cfg.train_dataloader.dataset = joined
    with pytest.raises(SagaError, match='train_dataloader joins 2 data sets'):
        use_own_data(cfg, own(data))


def test_heads_of_a_cascade():
    roi_head = dict(bbox_head=[dict(num_classes=80), dict(num_classes=80)], mask_head=dict(type='FCNMaskHead'))
    model = Config(dict(model=dict(rpn_head=dict(num_classes=1), roi_head=roi_head))).model
    set_num_classes(model, 4, DetectionData.heads)
    assert [head.num_classes for head in model.roi_head.bbox_head] == [4, 4]
    assert model.roi_head.mask_head.num_classes == 4 and model.rpn_head.num_classes == 1
    assert class_counts(model, DetectionData.compared) == [
        ('model.roi_head.bbox_head.0', 4),
        ('model.roi_head.bbox_head.1', 4),
    ]
    with pytest.raises(SagaError, match='found no bbox_head'):
        set_num_classes(dict(decode_head=dict(num_classes=3)), 4, DetectionData.heads)


def test_options_of_segmentation_are_refused(data):
    with pytest.raises(
        SagaError, match=r'^--train-mask: for segmentation, and config .*saga_maskrcnn\.py is for detection'
    ):
        use_own_data(load_config('saga_maskrcnn.py'), own(data, train_mask='m', classes='c.txt'))
