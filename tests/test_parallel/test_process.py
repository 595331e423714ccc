"""Which of several processes this is, by the variables of torchrun and of Slurm."""

import pytest

from saga_mm.errors import SagaError
from saga_mm.parallel import process
from saga_mm.parallel.process import first_node, patience, this_process

NAMES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_JOB_ID', *process.SLURM.values())


@pytest.fixture
def variables(monkeypatch):
    """The environment without a launcher; what is set in it is taken back."""
    for name in (*NAMES, *process.NODES):
        # set first, so that what a test's code adds is removed again
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return monkeypatch.setenv


def test_alone(variables):
    assert this_process() == (0, 1) and this_process().is_first


def test_of_torchrun(variables):
    variables('RANK', '2')
    variables('WORLD_SIZE', '4')
    assert this_process() == (2, 4) and not this_process().is_first


def test_of_slurm(variables, monkeypatch):
    for name, value in {
        'SLURM_PROCID': '3',
        'SLURM_STEP_NUM_TASKS': '8',
        'SLURM_LOCALID': '1',
        'SLURM_STEP_NODELIST': 'gpu[03-05,9],x1',
        'SLURM_JOB_ID': '12345678',
    }.items():
        variables(name, value)
    assert this_process() == (3, 8)
    environ = process.os.environ
    assert (environ['MASTER_ADDR'], environ['MASTER_PORT'], environ['LOCAL_RANK']) == ('gpu03', '25678', '1')
    # what is set already stays
    variables('RANK', '5')
    assert this_process() == (5, 8)


def test_a_batch_script_is_alone(variables):
    variables('SLURM_PROCID', '0')
    variables('SLURM_STEP_NUM_TASKS', '1')
    assert this_process() == (0, 1)


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('gpu1', 'gpu1'),
        ('gpu1,gpu2', 'gpu1'),
        ('a[7]', 'a7'),
        ('a[01-12]-ib,b', 'a01-ib'),
        ('x1,a[1-2]', 'x1'),
        ('', ''),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes, first):
    assert first_node(nodes) == first


@pytest.mark.parametrize('text', ['soon', '0', '-3', 'inf', 'nan', '1e9'])
def test_what_is_no_time_to_wait(monkeypatch, text):
    monkeypatch.setenv('SAGA_MM_TIMEOUT', text)
    with pytest.raises(SagaError, match=f'^SAGA_MM_TIMEOUT={text}: must be seconds above 0$'):
        patience()
    monkeypatch.setenv('SAGA_MM_TIMEOUT', '2.5')
    assert patience() == 2.5
