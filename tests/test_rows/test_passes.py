"""What a run over a map takes, by the rows of its strips."""

import pytest

from saga_mm.rows import Part, RowStep
from saga_mm.rows.passes import Pass


class Plain(RowStep):
    """A step with numbers that can be followed by hand."""

    def __init__(self, floats: float, **attributes: int) -> None:
        self.peak_floats_per_token = floats
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ('limit', 'chunk', 'rows'),
    [
        # 10 bytes of halo, 5 a row
        (100, 1000, 18),
        (1000, 100, 18),
        # a wide halo: at least 12 rows, while the limit allows for them
        (1000, 20, 12),
        (50, 20, 8),
        # nothing fits: the lowest strip there is, for the plan to refuse
        (1, 20, 2),
    ],
)
def test_strips_are_as_high_as_chunk_and_limit_allow(limit, chunk, rows):
    run = Pass(row=5.0, edge=10.0, multiple=2, least=12)
    assert run.rows(limit, chunk) == rows
    assert run.bytes(rows) == 5 * rows + 10


def test_a_step_is_written_before_it_is_read_and_its_strides_round_up():
    steps = [Plain(6, stride=4, halo=8), Plain(10, sweeps=2, row_multiple=3), Plain(2)]
    runs = list(Part(steps, 61, 21).passes(batch=2))
    assert [height for _, height in runs] == [16, 16, 16, 16, 16]
    embed, first, second, read, last = (run for run, _ in runs)
    number = 4 * 2
    # four rows of the image to one of the map; the halo is above and below; the next step writes as it is made
    assert embed == (number * 21 * 6 * 4, number * 21 * 6 * 2 * 8, 3, 8 * 8 // 4)
    # columns round up as rows do
    assert first == second == (number * 6 * 10, 0, 3, 1)
    assert read == (number * 6 * 10, 0, 3, 0) and last == (number * 6 * 2, 0, 1, 0)


def test_what_the_next_step_writes_counts_while_a_map_is_made():
    (run, _), *_ = Part([Plain(2), Plain(10, sweeps=1)], 8, 8).passes(1)
    assert run.row == 4 * 8 * 10


def test_numbers_of_another_type_and_images_of_a_batch_count_in_proportion():
    part = Part([Plain(6, halo=2), Plain(10, sweeps=1)], 40, 30)
    assert part.whole_bytes(1, 2) * 2 == part.whole_bytes(1) == part.whole_bytes(3) / 3
    assert part.strip_bytes(1, 0, 0) < part.strip_bytes(1, 1e4, 1e4) <= 1e4 < part.whole_bytes(1)


def test_states_that_grow_count_twice_with_all_tokens_that_write_them():
    keys = Plain(10, sweeps=1)
    keys.state_floats_per_token = 3.0
    assert Part([Plain(6, stride=2), keys], 9, 8).state_bytes(1) == 2 * 4 * 3 * 5 * 4
    # tokens of other maps write too
    assert Part([keys], 8, 8, tokens=80).state_bytes(1) == 2 * 4 * 3 * 80
    assert Part([Plain(6)], 8, 8).state_bytes(1) == 0
