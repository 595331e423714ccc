import os
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from saga_mm.errors import SagaError
from saga_mm.loading import work_dir as resume
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.loading.work_dir import find_best, find_newest, load_training_state, stay_inside


def save(path, **change):
    whole = {
        'state_dict': {'w': torch.zeros(2)},
        'meta': {'epoch': 1, 'iter': 5},
        'message_hub': {'log_scalars': {}},
        'optimizer': {'state': {}, 'param_groups': []},
    }
    whole.update(change)
    torch.save({key: value for key, value in whole.items() if value is not None}, path)


def test_newest_by_number(tmp_path):
    assert find_newest(tmp_path) == (None, [])
    for name in ('epoch_9', 'epoch_10', 'best_acc_epoch_12', 'other'):
        save(tmp_path / f'{name}.pth')
    os.utime(tmp_path / 'epoch_9.pth')
    assert find_newest(tmp_path) == (tmp_path / 'epoch_10.pth', [])


def test_falls_back_to_the_newest_that_is_whole(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path / f'iter_{number}.pth')
    (tmp_path / 'iter_3.pth').write_bytes((tmp_path / 'iter_3.pth').read_bytes()[:200])
    save(tmp_path / 'iter_2.pth', optimizer=None)
    (tmp_path / 'last_checkpoint').write_text('')
    newest, broken = find_newest(tmp_path)
    assert newest == tmp_path / 'iter_1.pth'
    assert len(broken) == 2 and 'iter_3.pth: is damaged' in broken[0] and 'iter_2.pth' in broken[1]

    (tmp_path / 'iter_1.pth').write_bytes(b'')
    with pytest.raises(SagaError, match=r'no checkpoint in .* can be continued from; the newest: .*iter_3\.pth'):
        find_newest(tmp_path)


def test_looks_where_last_checkpoint_points_to(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    save(tmp_path / 'elsewhere' / 'iter_7.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'elsewhere' / 'iter_7.pth'))
    assert find_newest(tmp_path)[0] == tmp_path / 'elsewhere' / 'iter_7.pth'


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'meta': {'epoch': 1, 'iter': 'abc'}}, r'meta\.iter'),
        ({'meta': {'epoch': 1, 'iter': 2**63}}, r'meta\.iter'),
        ({'message_hub': {'runtime_info': {'best_score': 10**70}}}, r'message_hub\.runtime_info\.best_score'),
        ({'meta': {'epoch': -1, 'iter': 5}}, r'meta\.epoch'),
        ({'meta': {'epoch': 1, 'iter': True}}, r'meta\.iter'),
        ({'meta': {'epoch': 1, 'iter': 5, 'seed': 'x'}}, r'meta\.seed'),
        ({'message_hub': {'log_scalars': {5: 1}}}, r'message_hub\.log_scalars'),
        ({'message_hub': {'runtime_info': [1]}}, r'message_hub\.runtime_info'),
        ({'message_hub': {'runtime_info': {'best_score': 'x'}}}, r'message_hub\.runtime_info\.best_score'),
        ({'param_schedulers': 5}, 'param_schedulers'),
        ({'param_schedulers': {'a': [5]}}, 'param_schedulers'),
    ],
)
def test_facts_of_a_run_of_another_kind(tmp_path, change, named):
    save(tmp_path / 'iter_5.pth', **change)
    with pytest.raises(SagaError, match=rf'iter_5\.pth: training cannot continue from it, since its {named}'):
        load_training_state(tmp_path / 'iter_5.pth')


def test_logs_without_entries_are_left_out(tmp_path):
    logs = {'a': HistoryBuffer([1.0], [1]), 'b': HistoryBuffer(), 'c': 5}
    save(tmp_path / 'iter_5.pth', message_hub={'log_scalars': logs, 'resumed_keys': {'a': True, 'b': False}})
    hub = load_training_state(tmp_path / 'iter_5.pth')['message_hub']
    assert list(hub['log_scalars']) == list(hub['resumed_keys']) == ['a'] and hub['runtime_info'] == {}


def test_paths_of_best_checkpoints_stay_inside(tmp_path):
    paths = {'best_ckpt': '/etc/best_a.pth', 'best_ckpt_b': '../../passwd', 'best_ckpt_c': 5, 'other': '/etc'}
    checkpoint = {'message_hub': {'runtime_info': paths}}
    stay_inside(checkpoint, tmp_path)
    assert paths == {'best_ckpt': str(tmp_path / 'best_a.pth'), 'other': '/etc'}


def test_best_of_a_folder(tmp_path):
    with pytest.raises(SagaError, match=r'a\.pth: no such file'):
        find_best(tmp_path / 'a.pth')
    with pytest.raises(SagaError, match='the folder holds no checkpoint'):
        find_best(tmp_path)
    for name in ('epoch_9', 'epoch_10'):
        save(tmp_path / f'{name}.pth')
    assert find_best(tmp_path) == find_best(tmp_path / 'epoch_10.pth') == tmp_path / 'epoch_10.pth'
    for age, name in enumerate(('best_b_epoch_2', 'best_a_epoch_7')):
        save(tmp_path / f'{name}.pth')
        os.utime(tmp_path / f'{name}.pth', (1e9 - age, 1e9 - age))
    assert find_best(tmp_path) == tmp_path / 'best_b_epoch_2.pth'


def test_a_best_checkpoint_that_a_training_replaces_meanwhile(tmp_path, monkeypatch):
    save(tmp_path / 'best_acc_iter_1.pth')
    replaced = []

    def load(path: Path) -> dict:
        if not replaced:
            replaced.append(path)
            path.unlink()
            save(tmp_path / 'best_acc_iter_2.pth', meta={'epoch': 1, 'iter': 2})
        return load_checkpoint(path)

    monkeypatch.setattr(resume, 'load_checkpoint', load)
    found = find_best(tmp_path)
    assert found == tmp_path / 'best_acc_iter_2.pth' and replaced == [tmp_path / 'best_acc_iter_1.pth']
    # what was found can be loaded once, whatever becomes of the file
    found.unlink()
    assert load_checkpoint(found)['meta']['iter'] == 2
    with pytest.raises(SagaError, match='no such file'):
        load_checkpoint(found)


def test_a_damaged_best_checkpoint_is_said_at_once(tmp_path):
    (tmp_path / 'best_acc_iter_1.pth').write_bytes(b'PK\3\4')
    with pytest.raises(SagaError, match='damaged'):
        find_best(tmp_path)


@pytest.mark.parametrize('lacking', ['optimizer', 'message_hub', 'meta'])
def test_refuses_what_holds_weights_alone(tmp_path, lacking):
    save(tmp_path / 'a.pth', **{lacking: None})
    with pytest.raises(SagaError, match=rf'a\.pth: training cannot continue from it, since it holds no {lacking}'):
        load_training_state(tmp_path / 'a.pth')
    save(tmp_path / 'b.pth', meta={'epoch': 1})
    with pytest.raises(SagaError, match='holds no iter'):
        load_training_state(tmp_path / 'b.pth')


@pytest.mark.parametrize('names', [['iter_3.pth', 'iter_20.pth'], ['weights.pth']])
def test_best_of_a_folder_of_weights_alone_is_the_newest(tmp_path, names):
    for name in names:
        torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / name)
    assert find_best(tmp_path) == tmp_path / names[-1]


def test_a_folder_of_which_nothing_can_be_read_says_why(tmp_path):
    (tmp_path / 'iter_3.pth').write_bytes(b'none')
    with pytest.raises(SagaError) as caught:
        find_best(tmp_path)
    assert '--resume' not in str(caught.value) and 'iter_3.pth' in str(caught.value)
