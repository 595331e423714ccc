"""Products in slices: whatever the groups, the threads and the way of adding a bias, the same numbers."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import add_feed_forward, mix_in_slices, products


@pytest.fixture(params=['AVX2', 'AVX512'])
def capability(request, monkeypatch) -> str:
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: request.param)
    return request.param


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch) -> int:
    monkeypatch.setattr(torch, 'get_num_threads', lambda: request.param)
    return request.param


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize('tokens', [1, 127, 400])
@pytest.mark.parametrize(('inner', 'outer'), [(5, 7), (130, 6), (6, 130), (130, 140)])
def test_products_with_narrow_and_wide_matrices(threads: int, tokens: int, inner: int, outer: int):
    x, weight, before = draw(tokens, inner), draw(outer, inner, seed=1), draw(tokens, outer, seed=2)
    matrix, out = products.turned(weight), before.clone()
    assert products.multiply(x, matrix, out, add=True) is out
    torch.testing.assert_close(out, before + x @ weight.T)
    products.multiply(x, matrix, out)
    torch.testing.assert_close(out, x @ weight.T)


@pytest.mark.parametrize('tokens', [1, 5, 700, 2600])
@pytest.mark.parametrize(('heads', 'inner', 'outer'), [(1, 1, 7), (1, 4, 4), (3, 4, 5), (6, 2, 3)])
def test_sums_over_tokens(monkeypatch, threads: int, tokens: int, heads: int, inner: int, outer: int):
    monkeypatch.setattr(products, 'FEWEST_SUMMED', 100)
    x, y = draw(tokens, heads * inner), draw(tokens, heads * outer, seed=1)
    parts = products.summed_parts(heads, tokens, x)
    assert parts == (1 if heads % (2 * threads) == 0 or tokens < 200 else 2 * threads)
    sums = draw(heads, parts, inner, outer, seed=2)
    wanted = sums.sum(1) + torch.einsum('nhd,nhe->hde', x.view(tokens, heads, inner), y.view(tokens, heads, outer))
    products.add_outer(sums, x, y)
    torch.testing.assert_close(sums.sum(1), wanted)
    # numbers with gaps, and fewer tokens than parts
    wide = draw(3, heads * outer + 2, seed=3)[:, :-2]
    products.add_outer(sums, x[:3], wide[: len(x)])
    pairs = x[:3].unflatten(-1, (heads, -1)), wide[: len(x)].unflatten(-1, (heads, -1))
    torch.testing.assert_close(sums.sum(1), wanted + torch.einsum('nhd,nhe->hde', *pairs))


@pytest.mark.parametrize(('inner', 'outer'), [(5, 7), (130, 140)])
@pytest.mark.parametrize('biased', [True, False])
def test_layers_write_to_a_buffer(threads: int, inner: int, outer: int, biased: bool):
    x, weight, bias = draw(200, inner), draw(outer, inner, seed=1), draw(outer, seed=2) if biased else None
    out = torch.full((300, outer), 3.0, dtype=torch.float64)
    found = products.linear(x, products.turned(weight), bias, out)
    torch.testing.assert_close(found, F.linear(x, weight, bias))
    assert found.data_ptr() == out.data_ptr() and (out[200:] == 3).all()


@pytest.mark.parametrize('channels', [8, products.NARROW + 1])
@pytest.mark.parametrize('biased', [True, False])
def test_layers_behind_a_norm(threads: int, channels: int, biased: bool):
    x, norm = 3 * draw(400, channels) + 5, (draw(channels, seed=1), draw(channels, seed=2), 1e-3)
    # a token without deviation
    x[7] = 2
    layers = [(draw(9, channels, seed=3 + i), draw(9, seed=5 + i) if biased else None) for i in range(2)]
    wanted = [F.linear(F.layer_norm(x, (channels,), *norm), *layer) for layer in layers]
    moved, folded = products.behind_norm(norm, *layers)
    for product, answer in zip(folded, wanted, strict=True):
        out = torch.empty(400, 9, dtype=x.dtype)
        torch.testing.assert_close(products.linear(F.layer_norm(x, (channels,), *moved), *product, out), answer)
    matrix, bias = products.fold_norm(norm, *layers[0])
    assert (bias is None) == (channels <= products.NARROW)
    centred = F.layer_norm(x, (channels,), eps=norm[2])
    centred = centred if bias is not None else centred + 1
    torch.testing.assert_close(products.linear(centred, matrix, bias, torch.empty_like(wanted[0])), wanted[0])


@pytest.mark.parametrize('mean', [0.0, 10.0, 1000.0])
def test_a_folded_bias_is_as_exact_as_another(mean: float):
    x, norm = draw(400, 64) + mean, (draw(64, seed=1), draw(64, seed=2), 1e-6)
    layer = draw(64, 64, seed=3), 10 * draw(64, seed=4)
    exact = F.linear(F.layer_norm(x, (64,), *norm), *layer)
    norm, layer, x = (norm[0].float(), norm[1].float(), 1e-6), tuple(half.float() for half in layer), x.float()
    # what single precision costs without folding
    plain = (F.linear(F.layer_norm(x, (64,), *norm), *layer) - exact).norm()
    moved, (product,) = products.behind_norm(norm, layer)
    found = products.linear(F.layer_norm(x, (64,), *moved), *product, torch.empty(400, 64))
    assert (found - exact).norm() < 1.5 * plain


def test_rows_of_ones_are_aligned():
    buffer = products.ones_for(4, 5, draw(1))
    assert buffer.shape == (4, 6) and (buffer == 1).all() and buffer.stride() == (16, 1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_ones_where_they_pay(capability: str, dtype: torch.dtype):
    for channels in (64, products.NARROW, products.NARROW + 1):
        pays = capability == 'AVX512' and channels <= products.NARROW and dtype != torch.bfloat16
        assert products.takes_ones(torch.empty(2, channels, dtype=dtype)) == pays


@pytest.mark.parametrize('channels', [8, 132])
def test_slices_are_the_same_on_any_processor(capability: str, threads: int, channels: int):
    x = draw(1, 30 * 20, channels)
    norm = draw(channels, seed=1), draw(channels, seed=2)
    first, second = (draw(40, channels, seed=3), draw(40, seed=4)), (draw(channels, 40, seed=5), draw(channels, seed=6))
    normed = F.layer_norm(x, (channels,), *norm, 1e-6)
    hidden = F.gelu(F.linear(normed, *first))
    wanted = x + F.linear(hidden, *second)
    torch.testing.assert_close(add_feed_forward(x.clone(), norm, 1e-6, first, second), wanted)


@pytest.mark.parametrize('heads', [1, 4])
@pytest.mark.parametrize('full', [True, False])
def test_attention_is_the_same_on_any_processor(monkeypatch, heads: int, full: bool):
    channels = 8
    x, norm = draw(2, 30 * 20, channels), (draw(channels, seed=1), draw(channels, seed=2), 1e-6)
    biases = [draw(n * channels, seed=3) if full else None for n in (2, 2, 1, 1)]
    pair, gates, query, proj = (
        (draw(n * channels, channels, seed=4 + i), bias)
        for i, (n, bias) in enumerate(zip((2, 2, 1, 1), biases, strict=True))
    )
    local = (draw(channels, 1, 3, 3, seed=9), draw(channels, seed=10)) if full else None
    answers = []
    for capability in ('AVX2', 'AVX512'):
        for count in (1, 3):
            monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda name=capability: name)
            monkeypatch.setattr(torch, 'get_num_threads', lambda number=count: number)
            layers = pair, (*gates, None) if full else None, query, local, proj
            answers.append(mix_in_slices(x.clone(), norm, *layers, heads, 30, 20))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0])
    assert not torch.allclose(answers[0], x)
