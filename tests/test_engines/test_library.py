"""OpenVINO as it is imported, and what is silent meanwhile."""

import logging
import warnings
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest

from saga_mm.engines.library import core, import_openvino, silence, tensor

pytestmark = pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino')


def test_a_process_has_one_core():
    assert import_openvino() is import_openvino()
    assert core() is core() and 'CPU' in core().available_devices


def test_arrays_stay_where_they_are():
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    shared = tensor(array)
    array[0, 0] = 7
    assert shared.data[0, 0] == 7 and list(shared.shape) == [2, 3]


def test_warnings_and_logs_are_heard_again_afterwards(caplog):
    logger = logging.getLogger('of an exporter')
    with suppress(ZeroDivisionError), silence():
        logger.warning('for its developers')
        warnings.warn('for them too', stacklevel=1)
        logger.error('but errors are told')
        raise ZeroDivisionError
    with pytest.warns(UserWarning, match='for users'):
        warnings.warn('for users', stacklevel=1)
    logger.warning('for users')
    assert [record.message for record in caplog.records] == ['but errors are told', 'for users']
