import pytest

from saga_mm.models.attention import SAGAAttention, SoftmaxAttention, build_attention, resolve_attention


def test_names_dicts_and_classes_resolve():
    assert resolve_attention('softmax') == (SoftmaxAttention, {})
    assert resolve_attention({'type': 'saga', 'gate_rank': 2}) == (SAGAAttention, {'gate_rank': 2})
    assert resolve_attention('saga_mm.SAGAAttention')[0] is SAGAAttention
    assert resolve_attention({'type': SAGAAttention})[0] is SAGAAttention


def test_own_options_win_over_the_host():
    mixer = build_attention({'type': 'softmax', 'sr_ratio': 2}, 8, 2, sr_ratio=8, qkv_bias=False)
    assert mixer.sr_ratio == 2 and mixer.q.bias is None


@pytest.mark.parametrize('name', ['sagaa', 'PVT', None, 3])
def test_unknown_names_are_answered_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r'unknown attention .*; .*choose one of .*saga, softmax'):
        resolve_attention({'type': name})


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown attention 'sagaa'; did you mean saga\? choose one of "):
        resolve_attention('sagaa')
