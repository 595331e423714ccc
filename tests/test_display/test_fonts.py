import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from saga_mm.display import fonts
from saga_mm.display.overlay import with_legend

NAMES = ['Gebäude', 'forêt', 'cañón', 'дорога', 'δρόμος', 'naïve $5']
CHINESE = ['天空', '建筑']


@pytest.fixture(autouse=True)
def plain_settings():
    with matplotlib.rc_context():
        yield


@pytest.fixture
def no_other_fonts(monkeypatch: pytest.MonkeyPatch):
    """A machine with DejaVu Sans alone."""
    monkeypatch.setattr(fonts, '_files', lambda: (str(fonts._dejavu()),))
    fonts._find.cache_clear()
    fonts._numbers.cache_clear()
    monkeypatch.setattr(fonts, '_said', [])
    yield
    fonts._find.cache_clear()


def legend(name: str) -> np.ndarray:
    return np.asarray(with_legend(np.zeros((64, 256, 3), np.uint8), [name], [(255, 0, 0)]))


@pytest.mark.parametrize('name', NAMES)
def test_letters_of_europe_come_from_the_font_of_matplotlib(name: str, no_other_fonts):
    assert fonts.shown(name) == name and fonts.font_file(name).endswith('DejaVuSans.ttf')
    stripped = name.encode('ascii', 'ignore').decode() + '?' * sum(not letter.isascii() for letter in name)
    assert name.isascii() or not np.array_equal(legend(name), legend(stripped))


def test_letters_that_no_font_has_become_numbers_and_one_line(no_other_fonts, capsys):
    assert [fonts.shown(name) for name in CHINESE] == ['U+5929 U+7A7A', 'U+5EFA U+7B51']
    assert fonts.shown('photos/天.png') == 'photos/ U+5929 .png'
    fonts.shown(CHINESE[0])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "no font here has the letters of '天空', drawn as U+5929 U+7A7A" in lines[0]
    first, second = map(legend, CHINESE)
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_a_font_that_is_installed_is_used(monkeypatch: pytest.MonkeyPatch):
    other = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'STIXGeneral.ttf')
    # a letter that DejaVu Sans lacks
    letter = next(
        c for c in sorted(fonts._letters_of(str(other)) - fonts._letters_of(str(fonts._dejavu()))) if c.isalpha()
    )
    monkeypatch.setattr(fonts, '_files', lambda: (str(fonts._dejavu()), str(other)))
    fonts._find.cache_clear()
    assert fonts.font_file(letter) == str(other) and fonts.shown(letter) == letter
    assert fonts.plot_text(letter) == letter
    assert matplotlib.rcParams['font.family'] == ['sans-serif', 'STIXGeneral']
    assert fonts.drawn_names([letter]) == [letter]
    assert matplotlib.rcParams['font.sans-serif'][0] == 'STIXGeneral'
    fonts._find.cache_clear()


def test_figures_have_no_missing_letters(tmp_path: Path, no_other_fonts):
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(fonts.plot_text('天空 $x^$'))
    axes.bar([fonts.plot_text(name) for name in NAMES], range(len(NAMES)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        figure.savefig(tmp_path / 'a.png')


def test_names_of_drawings_share_one_font(no_other_fonts):
    assert fonts.drawn_names(['дом', '天空', 'a$b']) == ['дом', 'U+5929 U+7A7A', r'a\$b']
    assert matplotlib.rcParams['font.sans-serif'][0] == 'DejaVu Sans'


@pytest.mark.parametrize(
    ('name', 'drawn'), [('a\tb', 'a b'), ('bell\x07', 'bell '), ('\u200fright', 'right'), ('a\u2028b', 'a b')]
)
def test_characters_without_a_sign_are_not_drawn(name: str, drawn: str):
    assert fonts.shown(name) == fonts.plot_text(name) == drawn and fonts.drawn_names([name]) == [drawn]
    figure = Figure()
    figure.suptitle(fonts.plot_text(name))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        figure.canvas.draw()
