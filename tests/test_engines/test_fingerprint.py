"""Keys of compiled steps."""

import copy

import pytest
import torch
from torch import nn

from saga_mm.engines import fingerprint
from saga_mm.engines.fingerprint import UnknownPartError, in_place_version, step_key
from saga_mm.models.attention import SAGAAttention


def test_the_same_module_has_the_same_key():
    mixer = SAGAAttention(16, 2)
    assert step_key([mixer], 'f32') == step_key([copy.deepcopy(mixer)], 'f32')


def test_whatever_changes_the_result_changes_the_key():
    mixer = SAGAAttention(16, 2)
    keys = [step_key([mixer], 'f32'), step_key([mixer], 'bf16')]
    with torch.no_grad():
        mixer.q.weight[0, 0] += 1
    keys.append(step_key([mixer], 'f32'))
    mixer.eps = 1e-3
    keys.append(step_key([mixer], 'f32'))
    mixer.feature_map = 'elu+1'
    keys.append(step_key([mixer], 'f32'))
    mixer.proj = nn.Sequential(mixer.proj)
    keys.append(step_key([mixer], 'f32'))
    assert len(set(keys)) == len(keys)


def test_code_of_a_function_is_part_of_the_key():
    first, second = SAGAAttention(16, 2), None
    first.feature_map = lambda x: x.clamp(min=0)
    second = copy.deepcopy(first)
    second.feature_map = lambda x: x.clamp(min=1)
    assert step_key([first]) != step_key([second])


def test_sets_have_no_order():
    keys = []
    # 1 and 9 share a place in a small table, so that the first to come stands first
    for odd in ({1, 9}, {9, 1}):
        mixer = SAGAAttention(16, 2)
        mixer.load_state_dict({name: torch.zeros_like(value) for name, value in mixer.state_dict().items()})
        mixer.odd = odd
        keys.append(step_key([mixer]))
    assert list({1, 9}) != list({9, 1}) and keys[0] == keys[1]


@pytest.mark.parametrize('room', ['ops', 'rows', 'models', 'engines'])
def test_code_that_steps_run_is_part_of_the_key(room, tmp_path, monkeypatch):
    for name in ('ops', 'rows', 'models', 'engines'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.py').write_text('')
    monkeypatch.setattr(fingerprint, '__file__', str(tmp_path / 'engines' / 'fingerprint.py'))
    before = fingerprint._package_code.__wrapped__()
    (tmp_path / room / 'a.py').write_text('1')
    assert fingerprint._package_code.__wrapped__() != before


def test_what_cannot_be_told_has_no_key():
    mixer = SAGAAttention(16, 2)
    mixer.tool = object()
    with pytest.raises(UnknownPartError, match=r'SAGAAttention\.tool is a object'):
        step_key([mixer])


def test_changes_in_memory_are_seen():
    mixer = SAGAAttention(16, 2)
    versions = [in_place_version([mixer])]
    with torch.no_grad():
        mixer.q.weight.mul_(2)
    versions.append(in_place_version([mixer]))
    hook = mixer.proj.register_forward_hook(lambda *args: None)
    versions.append(in_place_version([mixer]))
    assert len(set(versions)) == 3
    hook.remove()
    assert in_place_version([mixer]) == versions[1]
