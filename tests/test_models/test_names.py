import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint, load_state
from saga_mm.loading.published_file import read_published
from saga_mm.models.enhancement import weight_files as weights
from saga_mm.models.names import first_broken, without_wrappers

WRAPPED = ['', 'module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'module.module._orig_mod.']


@pytest.mark.parametrize('prefix', WRAPPED)
@pytest.mark.parametrize('key', ['state_dict', 'model', 'model_ema', None])
def test_prefixes_of_wrappers_come_off_in_any_order(tmp_path, prefix, key):
    state = {f'{prefix}{name}': torch.ones(1) for name in ('cls_token', 'block1.module.weight')}
    torch.save(state if key is None else {key: state}, tmp_path / 'w.pth')
    assert list(load_state(tmp_path / 'w.pth')) == ['cls_token', 'block1.module.weight']
    # what mmengine and the converter take
    assert list(load_checkpoint(tmp_path / 'w.pth')['state_dict']) == ['cls_token', 'block1.module.weight']
    assert list(read_published(tmp_path / 'w.pth').state) == ['cls_token', 'block1.module.weight']


def test_both_kinds_of_weights_come_without_prefixes(tmp_path):
    state = {'module.a': torch.ones(1)}
    torch.save({'model': state, 'ema_state_dict': {'steps': torch.tensor(3), **state}}, tmp_path / 'w.pth')
    assert list(read_published(tmp_path / 'w.pth').state) == ['a']
    assert list(read_published(tmp_path / 'w.pth', ema=True).state) == ['steps', 'a']


@pytest.mark.parametrize('names', [['module.a', 'b'], ['a.module.b'], ['_orig_mod.a', 'a'], []])
def test_prefixes_that_not_all_names_have_stay(names):
    assert list(without_wrappers(dict.fromkeys(names))) == names


@pytest.mark.parametrize('inside', ['_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_names_of_wrapped_parts_come_off(tmp_path, prefix, inside):
    names = [f'backbone.{inside}.block1.0.{inside}.norm.weight', 'head.weight']
    torch.save({f'{prefix}{name}': torch.ones(1) for name in names}, tmp_path / 'w.pth')
    assert list(load_state(tmp_path / 'w.pth')) == ['backbone.block1.0.norm.weight', 'head.weight']


def test_weights_of_a_model_with_a_compiled_part_load(tmp_path):
    model = torch.nn.ModuleDict({'backbone': torch.compile(torch.nn.Linear(2, 3)), 'head': torch.nn.Linear(3, 1)})
    assert set(without_wrappers(model.state_dict())) == {
        f'{a}.{b}' for a in ('backbone', 'head') for b in ('weight', 'bias')
    }


def test_weights_of_an_enhancer_may_be_of_a_compiled_model(tmp_path):
    model = weights.load_weights('base')
    header = weights.read_weights(weights.find_weights('base')).header
    state = {f'_orig_mod.{name}': value for name, value in model.state_dict().items()}
    weights.save_weights(tmp_path / 'w.npz', header['model'], state)
    loaded = weights.load_weights(tmp_path / 'w.npz')
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize(('head', 'writer'), [('model', 'Lightning'), ('ema_model', 'EMA')])
def test_prefixes_of_trainers_are_named(tmp_path, head, writer):
    torch.save({f'{head}.block1.0.attn.kv.weight': torch.ones(1)}, tmp_path / 'w.pth')
    from saga_mm.loading.published_file import recognise

    with pytest.raises(SagaError, match=rf"without the prefix '{head}\.', as .*{writer}.* saves them"):
        recognise(read_published(tmp_path / 'w.pth'))


@pytest.mark.parametrize('number', [1.0, float('nan')])
def test_views_that_repeat_numbers_are_not_unfolded(number):
    few = torch.tensor([1.0, number, 1.0])
    sizes = {'expanded': few[:, None].expand(3, 2**44), 'overlapping': few.as_strided((2**40, 2), (0, 1))}
    for name, view in sizes.items():
        assert first_broken({name: view}) == (name if number != number else None)
    assert first_broken({'part': few[::2]}) is None
