"""Argument parsers that report a mistake in one line with the nearest valid option or value."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from saga_mm.display.console import is_speaker
from saga_mm.errors import nearest

KINDS_OF_NUMBERS = {'int': 'whole number', 'float': 'number'}


class Parser(argparse.ArgumentParser):
    """A parser of argparse's whose errors are one line that names the nearest option or value."""

    def error(self, message: str) -> NoReturn:
        if is_speaker():
            print(f'error: {self._with_suggestion(message)} ({self.prog} --help)', file=sys.stderr)
        sys.exit(2)

    def add_old(self, old: str, new: str) -> None:
        """Have an earlier spelling of an option go on working, without a line in the help text."""
        action = self._option_string_actions[new]
        self._option_string_actions[old] = action

    def _with_suggestion(self, message: str) -> str:
        if unknown := re.match(r'unrecognized arguments: (.+)', message):
            return '; '.join(map(self._unknown, [word for word in unknown[1].split() if word.startswith('-')])) or (
                f'{unknown[1]}: more than {self.prog} takes'
            )
        if wrong := re.match(r"argument (.+?): invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
            named, value, choices = wrong[1], wrong[2], re.findall(r"[^\s',]+", wrong[3])
            return f'{named.split("/")[-1]} {value}: {nearest(value, choices)}choose one of {", ".join(choices)}'
        if wrong := re.match(r"argument (.+?): invalid (int|float) value: '(.*)'$", message):
            return f'{wrong[1].split("/")[-1]} {wrong[3]}: is no {KINDS_OF_NUMBERS[wrong[2]]}'
        if few := re.match(r'argument (-.+?): expected .*argument', message):
            option = few[1].split('/')[-1]
            action = self._option_string_actions[option]
            return f'{option}: takes {self._get_formatter()._format_args(action, action.dest.upper())}'
        if missing := re.match(r'the following arguments are required: (.+)', message):
            return f'missing: {missing[1]}'
        return message.removeprefix('argument ')

    def _unknown(self, option: str) -> str:
        shown = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        return f'{option}: no such option{nearest(option.partition("=")[0], shown, "; did you mean {}?")}'


class KeyValues(argparse.Action):
    """``KEY=VALUE ...`` as mmengine reads them, which is imported when there are some."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        from mmengine.config import DictAction

        reader = DictAction(self.option_strings, self.dest, nargs='+')
        for each in values:
            if '=' not in each:
                parser.error(f'argument {option}: {each} is not KEY=VALUE')
            try:
                if re.match(r'[\[(\s]*(\{|dict\()', each.partition('=')[2]):
                    # would be taken for a text
                    raise ValueError
                # of what is no list of its kind it raises what it happens to meet
                reader(parser, argparse.Namespace(), [each], option)
            except (AssertionError, LookupError, RecursionError, ValueError):
                parser.error(
                    f'argument {option}: {each}: cannot be read; lists are written [1,2], texts and numbers as they '
                    'are, and parts of a list of settings by their number: param_scheduler.0.end=5'
                )
        reader(parser, namespace, values, option)


def add_config_values(parser: argparse.ArgumentParser, **settings: Any) -> None:
    """``--cfg-options``, as OpenMMLab's tools have it."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        **{'help': 'values of the config to change', **settings},
    )


def add_size(parser: argparse.ArgumentParser, text: str, default: Sequence[int] | None = None) -> None:
    """``--size H W``."""
    parser.add_argument('--size', type=int, nargs=2, default=default, metavar=('H', 'W'), help=text)
