"""Detectors, segmentors and classifiers as folders: round trips, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import saga_mm
from saga_mm.apis import Classifier, Detector, Segmenter
from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config

pytest.importorskip('safetensors')
for package in ('mmdet', 'mmseg'):
    pytest.importorskip(package)

TESTS = Path(__file__).parents[1]
CLASSES = {'tiny': 5, 'tiny_segmentation': 6, 'tiny_classification': 3}
OPENED_BY = {'tiny': Detector, 'tiny_segmentation': Segmenter, 'tiny_classification': Classifier}


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Random weights of the tiny configs, in work folders."""
    made = {}
    for name, count in CLASSES.items():
        folder = tmp_path_factory.mktemp(name)
        cfg = load_config(TESTS / f'{name}.py')
        if name == 'tiny_classification':
            cfg.model.head.num_classes = count
        torch.manual_seed(0)
        state = {key: value + 0.05 * torch.rand_like(value) for key, value in weights(build_model(cfg)).items()}
        meta = {'dataset_meta': {'classes': tuple(f'class {index}' for index in range(count))}}
        torch.save({'state_dict': state, 'meta': meta}, folder / 'epoch_1.pth')
        made[name] = (TESTS / f'{name}.py', folder)
    return made


@pytest.fixture(scope='module')
def saved(checkpoints, tmp_path_factory):
    """Folders of the models, and what each was before."""
    made = {}
    for name, kind in OPENED_BY.items():
        model = kind(*checkpoints[name], device='cpu')
        made[name] = (model, model.save(tmp_path_factory.mktemp('saved') / name))
    return made


def weights(model):
    return {key: value.float() for key, value in model.state_dict().items() if value.is_floating_point()} | {
        key: value for key, value in model.state_dict().items() if not value.is_floating_point()
    }


def picture(height=70, width=93):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def same(first, second) -> bool:
    if isinstance(first, dict):
        return first == second
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    found, other = first.pred_instances, second.pred_instances
    assert len(found) > 0
    names = ('bboxes', 'labels', 'scores', 'masks')
    return all(np.array_equal(np.asarray(found[name]), np.asarray(other[name])) for name in names)


@pytest.mark.parametrize('name', CLASSES)
def test_a_folder_predicts_as_the_original(saved, name):
    model, folder = saved[name]
    opened = OPENED_BY[name](folder, device='cpu')
    assert opened.classes == model.classes and len(opened.classes) == CLASSES[name]
    assert list(map(tuple, opened.metainfo['palette'])) == list(map(tuple, model.metainfo['palette']))
    assert same(opened(picture()), model(picture()))
    assert sorted(path.name for path in folder.iterdir()) == ['README.md', 'config.json', 'model.safetensors']
    assert f"{OPENED_BY[name].__name__}('{name}')" in (folder / 'README.md').read_text()


@pytest.mark.parametrize('name', CLASSES)
def test_load_gives_the_model_and_save_the_same_files(saved, name, tmp_path):
    _, folder = saved[name]
    model = saga_mm.load(folder)
    assert not model.training and len(model.dataset_meta['classes']) == CLASSES[name]
    again = saga_mm.save(model, tmp_path / 'again')
    for file in ('config.json', 'model.safetensors'):
        assert (again / file).read_bytes() == (folder / file).read_bytes()


def test_the_stacks_own_function_takes_the_model(saved):
    from mmdet.apis import inference_detector

    model, folder = saved['tiny']
    assert same(inference_detector(saga_mm.load(folder), picture()[..., ::-1].copy()), model(picture()))


def change(source: Path, target: Path, edit) -> Path:
    shutil.copytree(source, target)
    path = target / 'config.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return target


def put(*keys, value):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        (put('model', 'type', value='os.system'), "type='os.system' is no registered part"),
        (put('model', 'backbone', 'type', value='saga_mm.models.PVT'), 'is no registered part'),
        (put('model', 'backbone', 'type', value='evil'), "type='evil' is no registered part"),
        (put('model', 'backbone', 'attention', value='builtins.eval'), "attention='builtins.eval' is no registered"),
        (put('model', 'test_cfg', 'rcnn', 'nms', 'type', value='print(1)'), "type='print(1)' is no registered part"),
        (put('model', 'test_cfg', 'rcnn', 'nms', 'type', value='exec'), "type='exec' is no registered part"),
        (put('model', 'backbone', '_scope_', value='evil'), '_scope_ is not taken from a file'),
        (put('model', 'backbone', 'init_cfg', value={'type': 'Pretrained'}), 'init_cfg is not taken from a file'),
        (put('model', 'teacher_ckpt', value='a'), 'teacher_ckpt is not taken from a file'),
        (put('model', 'backbone', 'x', value='../../etc/passwd'), "x='../../etc/passwd' is no registered part"),
        (put('model', 'backbone', 'embed_dims', value=10**9), 'embed_dims=1000000000 is out of range'),
        (put('model', 'backbone', 'x', value=1), 'has no option'),
        (put('model', 'neck', 'out_channels', value=24), 'does not fit the model of config.json, first at'),
        (put('pipeline', value=[{'type': 'os.system'}]), "type='os.system' is no registered part"),
        (put('pipeline', value=[{'type': 'ImageClassifier'}]), "type='ImageClassifier' is no registered part"),
        (put('pipeline', value={'type': 'Resize'}), 'pipeline is no list of steps'),
        (put('kind', value='segmentor'), 'no registered part'),
        (put('kind', value='classifier'), 'no registered part'),
        (put('kind', value='other'), 'is no part of saga_mm'),
    ],
)
def test_a_config_that_is_refused(saved, tmp_path, edit, words):
    folder = change(saved['tiny'][1], tmp_path / 'changed', edit)
    with pytest.raises(SagaError) as caught:
        saga_mm.load(folder)
    text = str(caught.value)
    assert words in text and '\n' not in text and str(folder) in text


def test_names_and_colours_that_are_none_are_left_out(saved, tmp_path):
    def edit(content):
        content['classes'], content['palette'] = ['a', 3], 'red'

    folder = change(saved['tiny'][1], tmp_path / 'changed', edit)
    assert saga_mm.load(folder).dataset_meta == {}
    with pytest.raises(SagaError, match='names the classes'):
        Detector(folder, device='cpu')


def test_names_that_would_not_be_read_again_are_not_written(saved, tmp_path):
    model = saga_mm.load(saved['tiny'][1])
    model.dataset_meta = {'classes': ['x' * 201, *model.dataset_meta['classes'][1:]]}
    with pytest.raises(SagaError, match='names of classes would not be read again'):
        saga_mm.save(model, tmp_path / 'made')
    assert not (tmp_path / 'made').exists()


def test_what_is_no_folder_of_a_model_is_told(checkpoints, saved, tmp_path):
    config, folder = checkpoints['tiny']
    with pytest.raises(SagaError, match=r'is a work folder; saga_mm\.apis\.Detector\(CONFIG, FOLDER\)\.save'):
        saga_mm.load(folder)
    with pytest.raises(SagaError, match=r'is a config without weights; saga_mm\.apis\.Detector'):
        saga_mm.load(config)
    with pytest.raises(SagaError, match='holds no config'):
        Detector(folder, device='cpu')
    with pytest.raises(SagaError, match='is for segmentation'):
        Detector(saved['tiny_segmentation'][1], device='cpu')
    with pytest.raises(SagaError, match='what this MaskRCNN is built of is not known'):
        saga_mm.save(build_model(load_config(config)), tmp_path / 'new')
    other = build_model(load_config(config))
    other.roi_head.bbox_head.fc_cls = torch.nn.Linear(32, 9)
    with pytest.raises(SagaError, match='does not fit the model of'):
        saga_mm.save(other, tmp_path / 'new', load_config(config))
    assert not (tmp_path / 'new').exists()
