"""Keys of compiled steps."""

import copy

import pytest
import torch
from torch import nn

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
