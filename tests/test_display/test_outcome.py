"""What is printed of several files."""

from saga_mm.display.outcome import print_failed, print_outcome


def test_failures_among_several_are_listed_again(capsys):
    print_failed('a.png: is damaged')
    print_outcome(2, 1, ['a.png: is damaged'])
    assert capsys.readouterr().out.splitlines() == [
        'failed   a.png: is damaged',
        '2 done, 1 skipped, 1 failed:',
        '  a.png: is damaged',
    ]


def test_a_single_one_is_not(capsys):
    print_outcome(0, 0, ['a.png: is damaged'])
    print_outcome(3, 0, [])
    assert capsys.readouterr().out.splitlines() == ['0 done, 0 skipped, 1 failed', '3 done, 0 skipped, 0 failed']
