"""Collect the problems of a file, to report all of them in one message."""

from pathlib import Path

from saga_mm.errors import SagaError

SHOWN = 5


class Problems:
    """What is wrong with one file, grouped by kind; the first few cases of each are kept, the others counted.

    Args:
        source: The file that the message starts with.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = source
        self._cases: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, kind: str, cure: str, case: str = '') -> None:
        """Note one case of a ``kind`` of problem, with the ``cure`` that ends its line."""
        key = (kind, cure)
        self._counts[key] = self._counts.get(key, 0) + 1
        cases = self._cases.setdefault(key, [])
        if len(cases) < SHOWN:
            cases.append(printable(case))

    def __bool__(self) -> bool:
        return bool(self._cases)

    def lines(self) -> list[str]:
        """One line for each kind: how often, the first cases, the cure."""
        lines = []
        for (kind, cure), cases in self._cases.items():
            count = self._counts[kind, cure]
            more = f' and {count - len(cases):,} more' if count > len(cases) else ''
            number = f' ({count:,} times)' if count > 1 else ''
            shown = f': {", ".join(cases)}{more}' if cases[0] else ''
            end = '' if kind.endswith('?') and not number and not shown else '.'
            lines.append(printable(f'{kind}{number}{shown}{end} {cure}', 2000))
        return lines

    def raise_any(self) -> None:
        """Raise a :class:`SagaError` that lists what was noted, if anything was."""
        lines = self.lines()
        if lines:
            separator = '\n- ' if len(lines) > 1 else ' '
            raise SagaError(f'{self.source}:{separator}{separator.join(lines)}')


def printable(text: str, longest: int = 400) -> str:
    """Text for a message: cut after ``longest`` letters, halves of characters as escapes."""
    cut = text if len(text) <= longest else f'{text[:longest]}... ({len(text):,} letters)'
    return cut.encode('utf-8', 'backslashreplace').decode()


def short_list(names: list[str], most: int = 20) -> str:
    """Names for a message, cut after ``most`` of them."""
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return ', '.join(printable(repr(name), 60) for name in names[:most]) + more
