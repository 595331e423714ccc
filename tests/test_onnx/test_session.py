"""Sessions of ONNX Runtime: devices, and errors in one line."""

import numpy as np
import pytest

from saga_mm.errors import SagaError
from saga_mm.onnx.session import open_session, run_session

pytest.importorskip('onnxruntime')


@pytest.fixture
def content(onnx_models) -> bytes:
    return onnx_models.enhancer().SerializeToString()


def test_a_model_is_run_by_the_names_of_its_inputs(content):
    session = open_session(content, 'cpu')
    image, strength = np.full((1, 3, 4, 5), 0.5, np.float32), np.array(0.4, np.float32)
    (answer,) = run_session(session, {'image': image, 'strength': strength}, 'a picture')
    np.testing.assert_allclose(answer, image + 0.1, rtol=0, atol=1e-6)


def test_a_device_that_is_not_there(content):
    with pytest.raises(SagaError, match='device=npu: this ONNX Runtime does not have it'):
        open_session(content, 'npu')


def test_what_is_no_model_is_refused_by_its_name():
    with pytest.raises(SagaError, match=r'^own\.onnx: ONNX Runtime cannot run it \(') as error:
        open_session(b'no model at all', 'cpu', 'own.onnx')
    assert '\n' not in str(error.value)


def test_inputs_that_do_not_fit(content):
    session = open_session(content, 'cpu')
    with pytest.raises(SagaError, match=r'^ONNX Runtime fails on a picture \(') as error:
        run_session(session, {'image': np.zeros((1, 2, 4, 5), np.float32)}, 'a picture')
    assert '\n' not in str(error.value)
