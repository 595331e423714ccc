import argparse

import pytest

from saga_mm.cli.options import ENGINES, PRECISIONS, add_data_options, add_launcher, add_work_dir, own_data_of
from saga_mm.cli.parser import Parser
from saga_mm.engines import ENGINES as KNOWN_ENGINES
from saga_mm.engines import PRECISIONS as KNOWN_PRECISIONS


def parse(*words: str) -> argparse.Namespace:
    parser = Parser()
    add_work_dir(parser)
    add_launcher(parser)
    add_data_options(parser, training=True)
    return parser.parse_args(words)


def test_command_line():
    args = parse('--cfg-options', 'a.b=1', 'c=[x,y]', '--local-rank', '1', '--val-ann', 'v.json')
    assert args.cfg_options == {'a.b': 1, 'c': ['x', 'y']} and args.local_rank == 1 and args.launcher == 'none'
    own = own_data_of(args)
    assert own and own.get('val_ann') == 'v.json' and own.get('train_ann') is None
    assert not own_data_of(parse())
    own = own_data_of(parse('--train-mask', 'm', '--classes', 'c.txt'))
    assert (own.get('train_mask'), own.get('classes'), own.given(own.paths)) == (
        'm',
        'c.txt',
        '--train-mask, --classes',
    )


@pytest.mark.parametrize('value', ["[dict(type='x',b=1)]", "{'a': 1}", '[{a:1}]', "dict(type='x')", '[1,2'])
def test_values_that_would_be_taken_for_a_text_or_are_none(value, capsys):
    with pytest.raises(SystemExit):
        parse('--cfg-options', f'a={value}')
    error = capsys.readouterr().err
    assert error.startswith(f'error: --cfg-options: a={value}: cannot be read') and error.count('\n') == 1


def test_engines_are_those_that_there_are():
    assert (ENGINES, PRECISIONS) == (KNOWN_ENGINES, KNOWN_PRECISIONS)
