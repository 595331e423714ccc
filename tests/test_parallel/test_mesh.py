"""A process by itself: the same calls, and nobody to wait for. Several are in ``test_bands.py``."""

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.parallel import Mesh, check_agreement, gather_objects, make_mesh
from saga_mm.parallel.counting import CountingMesh
from saga_mm.parallel.mesh import loss_named


def test_without_processes_a_mesh_is_one_band():
    mesh = make_mesh()
    assert (mesh.index, mesh.bands, mesh.replicas) == (0, 1, 1)
    with pytest.raises(SagaError, match='bands=2: must divide the number of processes, 1'):
        make_mesh(2)


def test_alone_all_that_is_exchanged_is_ones_own():
    mesh, x = Mesh(), torch.randn(3, 2, requires_grad=True)
    assert mesh.everybody() is mesh and mesh.name == 'band 0 of 1'
    for out in (mesh.total(x, 'sum'), *mesh.gather(x, 'map'), mesh.exchange(x, [3], [3], 'halo')):
        # what comes back may be written over
        assert torch.equal(out, x) and out.data_ptr() != x.data_ptr()
        (gradient,) = torch.autograd.grad((2 * out).sum(), x)
        assert torch.equal(gradient, torch.full((3, 2), 2.0))
    before = x.detach().clone()
    mesh.add_into(x.data, 'sum')
    assert torch.equal(x, before)
    assert not mesh.sent.total()


def test_bytes_of_sums_are_those_of_a_ring():
    mesh = CountingMesh(index=1, bands=4)
    mesh.add(torch.zeros(10, dtype=torch.float64), 'state')
    # all but one of four parts, twice
    assert mesh.sent == {'state': 2 * 80 * 3 // 4} and mesh.calls == 1


def test_alone_nobody_disagrees():
    check_agreement(Mesh(), {'version': '1'})
    assert gather_objects(Mesh(), 'own') == ['own']


def test_errors_of_a_single_process_stay_what_they_are():
    with pytest.raises(RuntimeError, match='Connection closed by peer') as caught, loss_named():
        raise RuntimeError('Connection closed by peer')
    assert not isinstance(caught.value, SagaError)
