import torch

from saga_mm.ops import FEATURE_MAPS, elu_plus_one, focused, get_feature_map


def test_focused_equals_its_equation():
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    y = x.relu() + 1e-6
    norm = y.flatten(2).norm(dim=-1)[..., None, None]
    norm_cubed = (y**3).flatten(2).norm(dim=-1)[..., None, None]
    assert torch.allclose(focused(x), y**3 * norm / norm_cubed, rtol=1e-12)


def test_focused_survives_tokens_that_are_all_negative_or_huge():
    x = torch.stack([-torch.ones(2, 4), torch.full((2, 4), 3e4)])[None].requires_grad_()
    out = focused(x)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()


def test_maps_are_non_negative():
    x = torch.linspace(-5, 5, 24).view(1, 2, 3, 4)
    for name in ('relu', 'elu+1', 'focused'):
        assert (get_feature_map(name)(x) >= 0).all(), name
    assert torch.equal(FEATURE_MAPS['identity'](x), x)
    assert torch.allclose(elu_plus_one(x), torch.where(x > 0, x + 1, x.exp()))


def test_a_callable_passes_through():
    assert get_feature_map(torch.abs) is torch.abs


def test_focused_with_a_scale_for_each_token():
    x, scale = torch.randn(2, 5, 3, 4), torch.rand(1, 5, 1, 1) + 1
    with torch.no_grad():
        assert torch.allclose(focused(x, scale=scale), focused(x / scale, floor=1e-6), atol=1e-4)
