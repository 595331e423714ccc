"""What those who watch a run over rows are told."""

from concurrent.futures import ThreadPoolExecutor

from saga_mm.rows import watch_rows
from saga_mm.rows.row_progress import Progress


def test_all_who_watch_are_told_the_share_that_is_done():
    outer, inner, progress = [], [], Progress(8)
    with watch_rows(outer.append):
        progress.add(2)
        with watch_rows(inner.append):
            progress.add(4)
        # more than was estimated is still no more than all
        progress.add(5)
    progress.add(1)
    assert outer == [0.25, 0.75, 1.0] and inner == [0.75]


def test_of_unknown_work_nobody_is_told():
    shares = []
    with watch_rows(shares.append):
        Progress(None).add(3)
    assert shares == []


def test_a_thread_of_its_own_is_not_watched():
    shares = []
    with watch_rows(shares.append), ThreadPoolExecutor(1) as pool:
        pool.submit(Progress(1).add, 1).result()
    assert shares == []
