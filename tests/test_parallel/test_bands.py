"""One image over 1, 2, 3 and 4 processes: the same numbers as in one; see ``band_checks.py``."""

import json
import runpy
from pathlib import Path

import pytest

from saga_mm.errors import SagaError
from saga_mm.parallel import Bands, Mesh

HERE = Path(__file__).parent
PROCESSES = runpy.run_path(str(HERE / 'processes.py'))

NAMES = {1: PROCESSES['ALONE']} | {world: PROCESSES['names_of'](world) for world in PROCESSES['WORLDS']}


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory, forker):
    folder = tmp_path_factory.mktemp('outcomes')
    forker.run(HERE / 'processes.py', folder)
    return {path.stem: json.loads(path.read_text()) for path in folder.glob('*.json')}


@pytest.mark.parametrize(('name', 'world'), [(name, world) for world, names in NAMES.items() for name in names])
def test_processes_together(name, world, outcomes):
    for rank in range(world):
        assert outcomes[f'{world}-{rank}'].get(name, 'did not run') is None, outcomes[f'{world}-{rank}'].get(name)


def test_each_check_runs_on_some_number_of_processes():
    assert {name for names in NAMES.values() for name in names} == {*PROCESSES['CHECKS'], *PROCESSES['LAST']}


@pytest.mark.parametrize('height', [160, 161, 170, 191])
def test_cuts_of_maps_are_those_of_the_image_by_their_stride(height):
    bands = Bands(Mesh(bands=3), height, 32)
    assert bands.cuts[1:3] == [64, 96] or bands.cuts[1:3] == [64, 128]
    for stride in (4, 8, 16, 32):
        rows = -(-height // stride)
        assert [start * stride for start, _ in bands.of(rows)] == bands.cuts[:3]
        assert bands.of(rows)[-1][1] == rows


def test_shares_of_bands():
    assert Bands(Mesh(bands=3), 320, 32, [1, 100, 1]).cuts == [0, 32, 288, 320]
    with pytest.raises(SagaError, match='3 numbers above 0'):
        Bands(Mesh(bands=3), 320, 32, [1, 2])
