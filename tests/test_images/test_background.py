"""Work in a thread of its own."""

import threading

import pytest

from saga_mm.images.background import Background


def test_calls_are_made_in_order_and_beside_the_caller():
    made, threads, first = [], set(), threading.Event()

    def call(number):
        if number == 0:
            first.wait(10)
        threads.add(threading.current_thread())
        made.append(number)

    with Background(waiting=2) as background:
        for number in range(3):
            background(call, number)
        # none was made so far, and the caller went on
        assert made == []
        first.set()
        for number in range(3, 20):
            background(call, number)
    assert made == list(range(20)) and len(threads) == 1 and threading.current_thread() not in threads


def fail():
    raise ValueError('the disk is full')


def call_all(functions, background=None, then=lambda: None):
    with background or Background() as call:
        for function in functions:
            call(function)
        then()


def test_an_error_comes_to_the_caller():
    for count in (1, 5):
        with pytest.raises(ValueError, match='full'):
            call_all([fail] * count)


def test_after_an_error_of_the_caller_what_waits_is_left_out():
    made, begun, first = [], threading.Event(), threading.Event()

    def call():
        begun.set()
        first.wait(10)

    def stop():
        begun.wait(10)
        threading.Timer(0.05, first.set).start()
        raise KeyError

    background = Background(waiting=3)
    with pytest.raises(KeyError):
        call_all([call, lambda: made.append(1)], background, stop)
    assert made == []
