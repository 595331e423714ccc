"""ONNX files of anybody's: what is refused before ONNX Runtime sees it."""

import os

import numpy as np
import pytest

from saga_mm.errors import SagaError
from saga_mm.onnx import file as onnx_file
from saga_mm.onnx.file import is_onnx, read_onnx

onnx = pytest.importorskip('onnx')
helper = pytest.importorskip('onnx.helper')


def refused(proto, tmp_path, said, kind=None):
    path = tmp_path / 'a.onnx'
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(SagaError, match=said) as caught:
        read_onnx(path, kind)
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


def external(name='outside', dims=(2,)):
    tensor = onnx.TensorProto(name=name, data_type=1, dims=dims, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key='location', value='../../etc/passwd')
    return tensor


def test_reads_files_of_each_kind(onnx_models, tmp_path):
    for proto, kind, outputs in (
        (onnx_models.enhancer(), 'enhancer', ('enhanced',)),
        (onnx_models.enhancer(0.5), 'enhancer', ('enhanced',)),
        (onnx_models.segmentor('scores'), 'segmentor', ('scores',)),
    ):
        file = read_onnx(onnx_models.save(proto, tmp_path / 'a.onnx'), kind)
        assert (file.facts.kind, file.opset, file.outputs) == (kind, 20, outputs)
        assert onnx.ModelProto.FromString(file.content).graph == proto.graph


def test_names_of_files():
    assert is_onnx('a.onnx') and is_onnx('a/B.ONNX') and not is_onnx('a.npz') and not is_onnx('onnx')


def test_data_in_other_files_is_refused(onnx_models, tmp_path):
    said = 'refers to data in other files'
    proto = onnx_models.enhancer()
    proto.graph.initializer.append(external())
    refused(proto, tmp_path, said)

    proto = onnx_models.enhancer()
    proto.graph.node.append(helper.make_node('Constant', [], ['outside'], value=external()))
    refused(proto, tmp_path, said)

    # within a branch, and without saying where the data lies
    proto, hidden = onnx_models.enhancer(), external()
    hidden.data_location = onnx.TensorProto.DEFAULT
    branch = helper.make_graph([helper.make_node('Identity', ['outside'], ['x'])], 'b', [], [], [hidden])
    proto.graph.node.append(helper.make_node('If', ['condition'], ['y'], then_branch=branch, else_branch=branch))
    refused(proto, tmp_path, said)

    proto = onnx_models.enhancer()
    proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=external(), dims=[2]))
    refused(proto, tmp_path, said)


def test_operators_beyond_the_standard_are_refused(onnx_models, tmp_path):
    said = 'operators'
    proto = onnx_models.enhancer()
    proto.graph.node.append(helper.make_node('EPContext', ['image'], ['y'], domain='com.microsoft'))
    refused(proto, tmp_path, said)
    proto.opset_import.append(helper.make_opsetid('com.microsoft', 1))
    refused(proto, tmp_path, said)

    proto = onnx_models.enhancer()
    node = helper.make_node('Identity', ['x'], ['y'])
    proto.functions.append(helper.make_function('own', 'F', ['x'], ['y'], [node], [helper.make_opsetid('', 20)]))
    refused(proto, tmp_path, said)


@pytest.mark.parametrize('version', [0, 9, 16, 24, 10**6])
def test_unknown_opsets(onnx_models, tmp_path, version):
    proto = onnx_models.enhancer()
    proto.opset_import[0].version = version
    refused(proto, tmp_path, rf'is of opset {version}, and those from 17 to 23 are read')


def test_files_that_are_not_ours(onnx_models, tmp_path):
    proto = onnx_models.enhancer()
    del proto.metadata_props[:]
    refused(proto, tmp_path, 'since it was not exported by saga_mm')
    refused(
        onnx_models.segmentor(), tmp_path, 'is of kind segmentor, and a file of kind enhancer is needed', 'enhancer'
    )

    said = 'inputs and outputs are not those of an exported'
    proto = onnx_models.enhancer()
    proto.graph.output[0].name = 'added'
    refused(proto, tmp_path, said)
    proto = onnx_models.enhancer()
    del proto.graph.input[1:]
    refused(proto, tmp_path, said)
    proto = onnx_models.segmentor()
    proto.graph.output.append(helper.make_tensor_value_info('red', 1, None))
    refused(proto, tmp_path, said)


def test_files_that_are_not_there_or_damaged(onnx_models, tmp_path):
    whole = onnx_models.enhancer().SerializeToString()
    for name, content in (
        ('empty', b''),
        ('text', b'not a model'),
        ('cut', whole[:-9]),
        ('zip', b'PK\x03\x04' + whole),
    ):
        path = tmp_path / f'{name}.onnx'
        path.write_bytes(content)
        with pytest.raises(SagaError, match=r'is damaged, incomplete or not an ONNX file at all$'):
            read_onnx(path)
    with pytest.raises(SagaError, match=r'absent\.onnx: no such file'):
        read_onnx(tmp_path / 'absent.onnx')
    with pytest.raises(SagaError, match='is a folder'):
        read_onnx(tmp_path)


def test_files_that_are_too_large(onnx_models, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, 'MOST_PARTS', 20)
    refused(onnx_models.enhancer(), tmp_path, 'has more parts than any export')
    path = tmp_path / 'large.onnx'
    path.touch()
    # a file of zeros that takes no space
    os.truncate(path, onnx_file.MOST_BYTES + 1)
    with pytest.raises(SagaError, match=r'large\.onnx: is not read, since it is larger than 1024 MiB'):
        read_onnx(path)


def test_bytes_that_another_format_claims(onnx_models, tmp_path):
    # ONNX Runtime takes what has these four letters at the fifth byte for a format of its own
    proto = onnx_models.enhancer()
    proto.producer_name = 'ORTM'
    path = onnx_models.save(proto, tmp_path / 'a.onnx')
    assert path.read_bytes()[4:8] == b'ORTM' and read_onnx(path).content[4:8] != b'ORTM'


def test_onnx_is_not_installed(onnx_models, tmp_path, monkeypatch):
    path = onnx_models.save(onnx_models.enhancer(), tmp_path / 'a.onnx')
    monkeypatch.setattr(onnx_file.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SagaError, match=r'reading an ONNX file needs onnx: pip install onnx$'):
        read_onnx(path)


@pytest.mark.parametrize('raw', [True, False])
def test_weights_that_are_no_numbers_are_refused(onnx_models, tmp_path, raw):
    proto = onnx_models.enhancer()
    weight = next(tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    values = np.full(tuple(weight.dims), np.nan, np.float32)
    kind = onnx.TensorProto.FLOAT
    weight.CopyFrom(helper.make_tensor(weight.name, kind, values.shape, values.tobytes() if raw else values, raw))
    refused(proto, tmp_path, f'{weight.name} holds NaN')
