"""Plain tables."""

from saga_mm.display.table import format_table


def test_columns_are_aligned_and_nothing_trails():
    lines = format_table(('name', 'rows'), [('a', 1), ('longer', 'many')]).splitlines()
    assert lines == ['name    rows', '------------', 'a       1', 'longer  many']


def test_wide_letters_take_two_columns():
    first, _, wide, narrow = format_table(('class', 'n'), [('道路', 1), ('sky', 2)]).splitlines()
    assert first == 'class  n' and wide == '道路   1' and narrow == 'sky    2'


def test_a_table_without_rows_has_its_header():
    assert format_table(('a', 'b'), []).splitlines() == ['a  b', '----']
