import sys

import pytest

from saga_mm.errors import SagaError
from saga_mm.loading.stack import require_stack


class Blocked:
    """An import finder that fails for one module the way a broken installation does."""

    def __init__(self, name: str, error: ImportError) -> None:
        self.name, self.error = name, error

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == self.name:
            raise self.error


@pytest.fixture
def block(monkeypatch):
    def put(name: str, error: ImportError) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, 'meta_path', [Blocked(name, error), *sys.meta_path])

    return put


def test_installed_stack_is_fine(capsys):
    require_stack('mmdet')
    assert capsys.readouterr() == ('', '')


def test_stale_operators(block):
    block('mmcv._ext', ImportError('undefined symbol: _ZN3c10'))
    with pytest.raises(SagaError, match=r'do not fit torch .*undefined symbol') as caught:
        require_stack()
    assert 'make setup' in str(caught.value) and '\n' not in str(caught.value)


def test_library_is_missing(monkeypatch):
    with pytest.raises(SagaError, match='no_such_library is not installed; `make setup`'):
        require_stack('no_such_library')
