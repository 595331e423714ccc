"""Lines on the screen, and commands as the user types them."""

import sys

import pytest

from saga_mm.display.console import command, is_speaker, one_line, say


@pytest.mark.parametrize(
    ('program', 'words', 'typed'),
    [
        ('/usr/bin/saga-mm', 'test a.py b.pth', 'saga-mm test a.py b.pth'),
        ('tools/train.py', 'test a.py b.pth', 'python tools/test.py a.py b.pth'),
        ('/home/me/saga_mm/tools/train.py', 'check-data a.py', 'python tools/check_dataset.py a.py'),
        ('', 'publish a', 'saga-mm publish a'),
    ],
)
def test_commands_are_those_of_the_program_that_was_called(monkeypatch, program, words, typed):
    monkeypatch.setattr(sys, 'argv', [program])
    assert command(words) == typed


@pytest.mark.parametrize(
    ('variables', 'speaks'),
    [({}, True), ({'RANK': '0'}, True), ({'RANK': '3'}, False), ({'SLURM_PROCID': '1'}, False)],
    ids=str,
)
def test_one_process_speaks(monkeypatch, capsys, variables, speaks):
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    say('trained')
    assert is_speaker() == speaks and capsys.readouterr().out.endswith('  trained\n') == speaks


def test_a_name_with_control_characters_is_one_line():
    assert one_line('done  夜\n\t😀 a\x1b[31m.jpg') == 'done  夜\\n\\t😀 a\\x1b[31m.jpg'
    assert one_line('b\udcff.jpg') == 'b\\udcff.jpg'
