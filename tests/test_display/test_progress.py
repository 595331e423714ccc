import sys

import pytest
import tqdm

from saga_mm.display import progress
from saga_mm.display.progress import progress_bar, progress_meter


@pytest.fixture
def bars(monkeypatch):
    """All bars that are made."""
    made = []

    class Kept(tqdm.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(tqdm, 'tqdm', Kept)
    monkeypatch.setattr(progress, 'shows_bars', lambda: True)
    return made


def test_a_meter_never_goes_back(bars):
    with progress_meter(10, 'huge.tif') as show:
        seen = []
        for done in (0.5, 3.7, 2.0, 10.0):
            show(done)
            seen.append(bars[0].n)
    assert seen == [0, 3, 3, 10]
    assert bars[0].total == 10 and bars[0].desc.startswith('huge.tif') and bars[0].unit == ' rows'


def test_bars_are_silent_without_tqdm(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    with progress_meter(10, 'huge.tif') as show:
        show(5)
    assert list(progress_bar([1, 2], 2, 'counting')) == [1, 2]
    assert capsys.readouterr() == ('', '')


def test_an_error_passes_through(bars):
    with pytest.raises(ValueError, match='broken'), progress_meter(10, 'huge.tif'):
        raise ValueError('broken')


def test_a_file_gets_a_line_now_and_then_and_no_bar(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, 'monotonic', lambda: next(clock))
    assert list(progress_bar(range(9), 9, 'counting')) == [*range(9)]
    with progress_meter(10, 'huge.tif') as show:
        for done in range(10):
            show(done + 0.5)
    out, err = capsys.readouterr()
    assert out == '' and '\r' not in err
    counted = ['counting: 3/9 images', 'counting: 6/9 images', 'counting: 9/9 images']
    assert err.splitlines() == [*counted, *(f'huge.tif: {done}/10 rows' for done in (2, 5, 8))]
