"""Exported files behind the calls of models with weights, under ONNX Runtime."""

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.onnx import session as onnx_session
from saga_mm.onnx.session import open_session, run_session
from saga_mm.tasks.classification.prediction import Classifier
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.exported_pictures import resize_picture
from saga_mm.tasks.segmentation.exported import ExportedSegmentor
from saga_mm.tasks.segmentation.segmenter import Segmenter

pytest.importorskip('onnxruntime')


@pytest.fixture
def enhancer(onnx_models, tmp_path):
    return onnx_models.save(onnx_models.enhancer(), tmp_path / 'enhancer.onnx')


def picture(height=37, width=53, channels=3, kind=np.uint8):
    values = np.random.default_rng(0).integers(0, 200, (height, width, channels)).squeeze()
    return (values / 255).astype(kind) if np.dtype(kind).kind == 'f' else values.astype(kind)


def test_arrays_of_each_kind(enhancer):
    enhance = LowLightInferencer(enhancer, 'cpu')
    for kind, highest in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
        image = picture(kind=kind)
        answer = enhance(image)
        assert answer.dtype == image.dtype and answer.shape == image.shape
        wanted = (image / highest + 0.25).clip(0, 1)
        assert np.abs(answer / highest - wanted).max() <= (0.5 / highest if highest > 1 else 0) + 1e-6
    assert (enhance(picture(), 0.8) == picture() + 51).all()
    assert (enhance(picture(), 0) == picture()).all()
    assert enhance(picture(channels=1)).shape == (37, 53)
    opaque = picture(channels=4)
    assert (enhance(opaque)[..., 3] == opaque[..., 3]).all()


def test_photographs(enhancer, tmp_path):
    # higher than the rows that are written at a time
    Image.fromarray(picture(150, 20)).save(tmp_path / 'a.png')
    made = LowLightInferencer(enhancer, max_memory='8GB').save(tmp_path / 'a.png', compare=True)
    difference = np.asarray(Image.open(made)).astype(int) - picture(150, 20)
    assert set(np.unique(difference)) <= {63, 64} | set(range(63)) and difference.max() == 64
    assert (tmp_path / 'a_compare.jpg').is_file()


def test_a_strength_for_good(onnx_models, tmp_path):
    path = onnx_models.save(onnx_models.enhancer(0.5), tmp_path / 'a.onnx')
    enhance = LowLightInferencer(path, 'cpu')
    assert (enhance(picture(kind=np.float32)) == enhance(picture(kind=np.float32), 0.5)).all()
    assert enhance(picture()).mean() > picture().mean() + 50
    with pytest.raises(SagaError, match=r'strength=0\.7: .*a\.onnx was exported with the constant strength 0\.5'):
        enhance(picture(), 0.7)
    assert not np.array_equal(enhance(picture(kind=np.float32), 0.5), picture(kind=np.float32))


def test_an_image_that_needs_more_memory(onnx_models, tmp_path):
    path = onnx_models.save(onnx_models.enhancer(bytes_per_pixel=10**6), tmp_path / 'a.onnx')
    with pytest.raises(SagaError, match=r'max_memory=3072MB: too little for 90 x 40 pixels: .* in about \d+MB'):
        LowLightInferencer(path, 'cpu', '3GB')(picture(40, 90))
    assert LowLightInferencer(path, 'cpu', None)(picture(40, 90)).shape == (40, 90, 3)


def test_other_kinds_and_answers_are_refused(onnx_models, enhancer, tmp_path):
    segmentor = onnx_models.save(onnx_models.segmentor(), tmp_path / 'segmentor.onnx')
    with pytest.raises(SagaError, match=r'is of kind segmentor, and a file of kind enhancer is needed'):
        LowLightInferencer(segmentor)
    with pytest.raises(SagaError, match=r'enhancer\.onnx: is of kind enhancer, and a file of kind segmentor is needed'):
        Segmenter(enhancer)
    proto = onnx_models.enhancer()
    listed = onnx_models.helper.make_node('SequenceConstruct', ['brighter'], ['enhanced'])
    proto.graph.node[-1].CopyFrom(listed)
    proto.graph.output[0].ClearField('type')
    wrong = LowLightInferencer(onnx_models.save(proto, tmp_path / 'a.onnx'), 'cpu', None)
    with pytest.raises(SagaError, match=r'a\.onnx: gives a list, which no exported enhancer does'):
        wrong(picture())
    proto = onnx_models.enhancer()
    proto.graph.node[-1].input[0] = 'zero'
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    wrong = LowLightInferencer(onnx_models.save(proto, tmp_path / 'a.onnx'), 'cpu', None)
    with pytest.raises(SagaError, match=r'a\.onnx: gives float32 \(\), which no exported enhancer does'):
        wrong(picture())


def test_answers_that_are_no_colours_become_some(onnx_models, tmp_path):
    # the root of a logarithm is no number below 1
    proto = onnx_models.enhancer()
    del proto.graph.node[-1]
    names = ('image', 'logarithm', 'enhanced')
    for operator, source, target in zip(('Log', 'Sqrt'), names, names[1:]):
        proto.graph.node.append(onnx_models.helper.make_node(operator, [source], [target]))
    image = np.array([[[0, 0.5, 1]]], np.float32)
    answer = LowLightInferencer(onnx_models.save(proto, tmp_path / 'a.onnx'), 'cpu', None)(image)
    assert np.isfinite(answer).all() and 0 <= answer.min() <= answer.max() <= 1


def test_models_that_do_not_run(onnx_models, tmp_path):
    proto = onnx_models.enhancer()
    proto.graph.node[0].op_type = 'NoSuchOperator'
    with pytest.raises(SagaError, match=r'a\.onnx: ONNX Runtime cannot run it \(.*NoSuchOperator.*\)$'):
        LowLightInferencer(onnx_models.save(proto, tmp_path / 'a.onnx'))
    proto = onnx_models.enhancer()
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 7
    fixed = LowLightInferencer(onnx_models.save(proto, tmp_path / 'a.onnx'), max_memory=None)
    with pytest.raises(SagaError, match=r'^ONNX Runtime fails on .*a\.onnx and 53 x 37 pixels \(.*\)$'):
        fixed(picture())


def test_devices_and_libraries(onnx_models, enhancer, monkeypatch):
    content = enhancer.read_bytes()
    with pytest.raises(SagaError, match='device=tpu: this ONNX Runtime does not have it'):
        open_session(content, 'tpu')
    both = [onnx_session.CUDA, onnx_session.CPU]
    assert onnx_session._providers(None, both) == both and onnx_session._providers('cpu', both) == both[1:]
    assert onnx_session._providers('cuda:1', both)[0] == (onnx_session.CUDA, {'device_id': 1})
    with pytest.raises(SagaError, match='pip install onnxruntime-gpu'):
        onnx_session._providers('cuda', both[1:])
    monkeypatch.setattr(onnx_session, 'RUNTIME', 'no_such_runtime')
    with pytest.raises(SagaError, match=r'running an ONNX file needs no_such_runtime: pip install no_such_runtime$'):
        LowLightInferencer(enhancer)


def test_errors_of_the_runtime_are_one_line(enhancer):
    session = open_session(enhancer.read_bytes())
    with pytest.raises(SagaError, match=r'^ONNX Runtime fails on nothing \(.+\)$'):
        run_session(session, {}, 'nothing')


def test_labels(onnx_models, tmp_path):
    path = onnx_models.save(onnx_models.segmentor(), tmp_path / 'a.onnx')
    segment = Segmenter(path)
    found = segment(picture())
    assert segment.classes == ('ground', 'light') and segment.metainfo['palette'][1] == (200, 100, 0)
    assert found.dtype == np.uint8 and (found == (picture()[..., 0] > 127)).all()
    with pytest.raises(SagaError, match='has its weights and options in it'):
        Segmenter(path, 'weights.pth')
    with pytest.raises(SagaError, match='name its checkpoint as well'):
        Segmenter('config.py')


def test_labels_beyond_the_classes_are_refused(onnx_models, tmp_path):
    proto = onnx_models.segmentor()
    del proto.graph.node[-1]
    multiply = onnx_models.helper.make_node('Cast', ['red'], ['labels4'], to=onnx_models.UINT8)
    squeeze = onnx_models.helper.make_node('Squeeze', ['labels4', 'axis'], ['labels'])
    proto.graph.node.extend([multiply, squeeze])
    with pytest.raises(SagaError, match='which no exported segmentor does'):
        Segmenter(onnx_models.save(proto, tmp_path / 'a.onnx'))(picture())


@pytest.mark.parametrize(
    'rule',
    [
        {'scale': [64, 32], 'keep_ratio': True},
        {'scale': [30, 50]},
        {'scale_factor': [0.5, 1.5], 'interpolation': 'bicubic'},
        {'scale': [40, 40], 'keep_ratio': True, 'backend': 'pillow', 'interpolation': 'nearest'},
    ],
)
def test_pictures_are_resized_as_the_stack_does(onnx_models, tmp_path, rule):
    transforms = pytest.importorskip('mmcv.transforms')
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in rule.items()}
    results = transforms.Resize(**given)({'img': np.ascontiguousarray(picture()[..., ::-1])})
    assert (resize_picture(picture(), rule) == results['img'][..., ::-1]).all()
    path = onnx_models.save(onnx_models.segmentor(resize=rule), tmp_path / 'a.onnx')
    assert ExportedSegmentor(path)(picture()).shape == (37, 53)


def test_scores_become_labels_of_the_picture(onnx_models, tmp_path):
    path = onnx_models.save(onnx_models.segmentor('scores', pad_divisor=1), tmp_path / 'a.onnx')
    image = np.zeros((33, 41, 3), np.uint8)
    image[:, 20:, 0] = 255
    found = ExportedSegmentor(path)(image)
    assert found.shape == (33, 41) and not found[:, :16].any() and found[:, 24:].all()


def test_classes_of_a_picture(onnx_models, tmp_path):
    crop = {'center_crop': [5, 7]}
    classify = Classifier(onnx_models.save(onnx_models.classifier(resize=crop), tmp_path / 'a.onnx'))
    image = np.zeros((31, 41, 3), np.uint8)
    assert list(classify(image)) == list(classify.classes)
    image[12:19, 18:23, 0] = 255
    found = classify(image)
    assert next(iter(found)) == classify.classes[1] and sum(found.values()) == pytest.approx(1)
