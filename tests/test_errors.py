"""One error, said to callers from Python and to those of the tools."""

import pickle

from saga_mm.errors import ArgumentError, SagaError, nearest, shell_text


def test_python_names_the_argument_and_the_shell_the_option():
    error = ArgumentError('max_memory', 'much', 'is no size')
    assert str(error) == 'max_memory=much: is no size'
    assert shell_text(error) == '--max-memory much: is no size'
    assert shell_text(SagaError('a.png: is damaged')) == 'a.png: is damaged'


def test_it_comes_back_from_another_process_as_it_was():
    error = pickle.loads(pickle.dumps(ArgumentError('bands', 2, 'too many')))
    assert (error.name, error.value, str(error)) == ('bands', 2, 'bands=2: too many')


def test_what_is_near_is_suggested_and_nothing_else():
    assert nearest('bse', ['base', 'lol']) == 'did you mean base? ' and nearest('other', ['base', 'lol']) == ''
