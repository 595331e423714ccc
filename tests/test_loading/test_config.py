"""Configs are found by name, and mistakes in them are told in one line."""

import pytest

from saga_mm.errors import SagaError
from saga_mm.loading.config import find_config, load_config


def test_a_name_inside_the_configs_of_the_package_suffices(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_config('saga_maskrcnn.py')
    assert found == find_config('configs/saga_maskrcnn.py') and found.is_file()
    # a file of the user's comes first
    (tmp_path / 'saga_maskrcnn.py').touch()
    assert not find_config('saga_maskrcnn.py').is_absolute()


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('saga_maskrcn.py', r'config saga_maskrcn\.py: no such file; close names: saga_maskrcnn\.py'),
        ('nothing-like-it', r'config nothing-like-it: no such file; those that come with saga_mm are in .*configs$'),
        ('.', r'config \.: is a folder; name one file in it'),
        ('notes.txt', r'config notes\.txt: a config is one of \.py, \.json'),
    ],
)
def test_what_is_no_config(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(SagaError, match=said):
        find_config(name)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('a = 1\nb = (2\n', r"own\.py, line 2: syntax error: '\(' was never closed"),
        ('a = 1\nb = a / 0\n', r'own\.py, line 2: ZeroDivisionError: division by zero'),
        ('a = dict()\nb = a["x"]\n', r'own\.py, line 2: KeyError: x'),
        ("_base_ = ['other.py']\n", r'own\.py: inherits from .*other\.py, which does not exist'),
        ("_base_ = ['broken.py']\n", r'broken\.py, line 3 \(inherited by .*own\.py\): NameError: .*nothing'),
        ("custom_imports = dict(imports=['no_such_module'])\n", r'own\.py.*: custom_imports: No module named'),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, text, said):
    (tmp_path / 'own.py').write_text(text)
    (tmp_path / 'broken.py').write_text('a = 1\n\nb = nothing\n')
    with pytest.raises(SagaError, match=said) as error:
        load_config(tmp_path / 'own.py')
    assert '\n' not in str(error.value)


def test_options_are_set_where_they_are_known(tmp_path):
    (tmp_path / 'own.py').write_text(
        'model = dict(type="A", depth=1)\ntrain_cfg = dict(max_epochs=2)\nsteps = [1, 2]\n'
    )
    cfg = load_config(tmp_path / 'own.py', {'train_cfg.max_epochs': 5, 'model.anything': 2})
    assert (cfg.train_cfg.max_epochs, cfg.model.anything, cfg.steps) == (5, 2, [1, 2])


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        (
            'train_cfg.max_epoch',
            r'^cfg_options=train_cfg\.max_epoch: .*own\.py has no max_epoch; did you mean max_epochs',
        ),
        ('steps.5', r'^cfg_options=steps\.5: does not fit'),
        ('auto_scale_lr.base', r'auto_scale_lr has no base; it takes enable, base_batch_size'),
    ],
)
def test_options_that_nobody_reads(tmp_path, option, said):
    (tmp_path / 'own.py').write_text(
        'train_cfg = dict(max_epochs=2)\nsteps = [1]\nauto_scale_lr = dict(enable=False)\n'
    )
    with pytest.raises(SagaError, match=said):
        load_config(tmp_path / 'own.py', {option: 1})
