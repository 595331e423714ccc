"""Completion of ``saga-mm`` in a shell, by argcomplete."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from saga_mm.loading.config import config_roots

# arguments that may be a config of the package, by its name inside configs/
CONFIGS = ('config', 'model', 'source')


def complete(verbs: Mapping[str, str], parser_of: Callable[[str], argparse.ArgumentParser]) -> None:
    """Answer the request of a shell for completions and exit; return if there is none.

    Args:
        verbs: What each verb does.
        parser_of: The parser of a verb; asked for that of the command line alone.
    """
    if '_ARGCOMPLETE' not in os.environ or find_spec('argcomplete') is None:
        return
    import argcomplete

    words = os.environ.get('COMP_LINE', '').split()
    program = argparse.ArgumentParser('saga-mm')
    program.add_argument('-V', '--version', action='store_true')
    parsers = program.add_subparsers()
    for verb, text in verbs.items():
        if verb in words[1:2]:
            made = parsers.add_parser(verb, help=text, parents=[parser_of(verb)], add_help=False)
            for action in made._actions:
                if action.dest in CONFIGS and not action.option_strings:
                    action.completer = _configs_and_files  # type: ignore[attr-defined]
        else:
            parsers.add_parser(verb, help=text)
    argcomplete.autocomplete(program)


def _configs_and_files(prefix: str, **kwargs: Any) -> list[str]:
    from argcomplete.completers import FilesCompleter

    names = {
        path.relative_to(root).as_posix()
        for root in config_roots()
        for path in root.rglob('*.py')
        if '_base_' not in path.parts
    }
    return sorted(names) + list(FilesCompleter()(prefix, **kwargs))
