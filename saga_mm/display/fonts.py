"""Fonts for a text in any script. Letters that no font has are drawn as their code points."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from .console import say

_said: list[str] = []
# letters beyond which a name leaves no room in a figure
LONGEST = 80
# fonts that have a sign for every character, and letters for none
EMPTY = ('lastresort', 'adobeblank', 'adobe-blank')


def shown(text: str) -> str:
    """The text, with numbers for the letters that DejaVu Sans lacks where no font on this machine has all of them.

    Characters without a sign, such as tabs and marks of direction, are left out or become spaces.
    """
    text = _with_signs(text)
    return text if not _has_matplotlib() or font_file(text) else _numbers(text)


def pillow_font(text: str, size: float) -> ImageFont.FreeTypeFont:
    """A font for :func:`shown` of a text; without Matplotlib the one of Pillow, which has Latin letters."""
    if not _has_matplotlib():
        return ImageFont.load_default(size)
    return ImageFont.truetype(font_file(text) or str(_dejavu()), size)


def plot_text(text: str) -> str:
    """A text for a figure of Matplotlib, which gets the font for it and finds no formula in it. It is cut if long."""
    import matplotlib

    text = _with_signs(text)
    text = text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'
    file = font_file(text)
    if file not in (None, str(_dejavu())):
        families = matplotlib.rcParams['font.family']
        matplotlib.rcParams['font.family'] = [*dict.fromkeys([*families, _family(file)])]
    return _without_formula(shown(text))


def drawn_names(names: Sequence[str]) -> list[str]:
    """Names for mmdet's drawings, which take one font for all of them: the one that has most of the names."""
    import matplotlib

    names = list(map(_with_signs, names))
    files = [file for file in dict.fromkeys(map(font_file, names)) if file]
    file = max(files, key=lambda file: sum(_has(file, name) for name in names), default=str(_dejavu()))
    known = matplotlib.rcParams['font.sans-serif']
    matplotlib.rcParams['font.sans-serif'] = [*dict.fromkeys([_family(file), *known])]
    return [_without_formula(name if _has(file, name) else _numbers(name)) for name in names]


def font_file(text: str) -> str | None:
    """The first font that has all letters of a text: DejaVu Sans, or one that is installed; None if there is none."""
    return _find(_letters(text))


@cache
def _find(letters: frozenset[str]) -> str | None:
    return next((file for file in _files() if letters <= _letters_of(file)), None)


def _has(file: str, text: str) -> bool:
    return _letters(text) <= _letters_of(file)


def _letters(text: str) -> frozenset[str]:
    """The characters of a text that need a sign in a font."""
    return frozenset(letter for letter in text if unicodedata.category(letter)[0] not in 'CZ')


@cache
def _numbers(text: str) -> str:
    have = _letters_of(str(_dejavu()))
    lacking = _letters(text) - have
    parts = [f' U+{ord(letter):04X} ' if letter in lacking else letter for letter in text]
    numbers = ' '.join(''.join(parts).split())
    _say_once(text[-40:], numbers[-80:])
    return numbers


def _say_once(text: str, numbers: str) -> None:
    if not _said:
        say(f'no font here has the letters of {text!r}, drawn as {numbers}; install one that has (Noto Sans CJK, ...)')
        _said.append(text)


@cache
def _files() -> tuple[str, ...]:
    """Fonts in the order in which they are tried: DejaVu Sans, then upright ones of usual weight, then the others."""
    from matplotlib.font_manager import findSystemFonts

    odd = ('bold', 'italic', 'oblique', 'mono', 'light', 'black', 'thin', 'condensed', 'serif', 'emoji')
    found = [file for file in findSystemFonts() if not any(name in Path(file).stem.lower() for name in EMPTY)]
    found.sort(key=lambda file: (sum(word in Path(file).stem.lower() for word in odd), file))
    return str(_dejavu()), *found


@cache
def _letters_of(file: str) -> frozenset[str]:
    """The characters that a font has, none if it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, 16)
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def _family(file: str) -> str:
    """The name by which Matplotlib knows a font."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    fontManager.addfont(file)
    return FT2Font(file).family_name


@cache
def _has_matplotlib() -> bool:
    return find_spec('matplotlib') is not None


@cache
def _dejavu() -> Path:
    """The font that comes with Matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')


def _with_signs(text: str) -> str:
    """The text without characters that no font draws: controls and separators of lines as spaces, others left out."""
    kinds = {letter: unicodedata.category(letter) for letter in text}
    if not any(kind[0] == 'C' or kind in ('Zl', 'Zp') for kind in kinds.values()):
        return text
    drawn = {'Cc': ' ', 'Zl': ' ', 'Zp': ' ', 'Cf': ''}
    return ''.join(drawn.get(kinds[letter], letter) for letter in text)


def _without_formula(text: str) -> str:
    return text.replace('$', r'\$')
