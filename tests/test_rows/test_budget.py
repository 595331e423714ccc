"""What a budget leaves for strips, how it plans them, when it trims, and what it says."""

import re

import pytest
import torch
from torch import nn

from saga_mm.errors import ArgumentError, SagaError, shell_text
from saga_mm.ops import number_bytes
from saga_mm.rows import TORCH, Engine, LocalStep, MemoryBudget, MemoryRows, Part, RowRunner, Rows, budget
from saga_mm.rows.device_memory import free_bytes, used_bytes

CPU = torch.device('cpu')
GIB = 2**30


class Fixed(MemoryBudget):
    """A budget of a program that holds so many bytes."""

    used = 100 * 2**20


def part(height=4096, width=512, peak_floats_per_token=64.0):
    return Part([LocalStep(lambda x, grid: (x, grid), peak_floats_per_token, reach=1)], height, width)


def test_half_of_what_is_free_is_the_default():
    allowed = MemoryBudget(CPU).allowed
    assert allowed == pytest.approx(used_bytes(CPU) + free_bytes(CPU) / 2, rel=0.05)
    assert MemoryBudget(CPU, 5 * GIB).allowed == 5 * GIB


def test_what_is_left_counts_what_is_in_use_and_will_be_held():
    left = Fixed(CPU, GIB).left()
    assert left == pytest.approx((GIB - Fixed.used - budget.SLACK) * budget.USABLE)
    assert left - Fixed(CPU, GIB).left(held=2**20) == pytest.approx(2**20 * budget.USABLE)


@pytest.mark.parametrize(
    ('dtype', 'number'), [(torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 3), (torch.float16, 3)], ids=str
)
def test_numbers_are_counted_by_their_type(dtype, number):
    model = nn.Linear(2, 2).to(dtype)
    found = MemoryBudget.of(model, GIB)
    assert found.number == number_bytes(dtype) == number and found.device == CPU
    assert MemoryBudget.of(model, found) is found
    rows = Rows(1, 4096, 512)
    whole = part().whole_bytes(1, number)
    assert whole == number / 4 * part().whole_bytes(1)
    # strips of smaller numbers are higher, and take the same bytes
    run, _ = next(part().passes(1, number))
    runner = Fixed(CPU, GIB // 4, dtype).plan([part()], rows)
    assert runner.number == number
    taken = run.bytes(run.rows(runner.limit, runner.chunk))
    assert 0.9 * runner.limit < taken <= runner.limit


def test_what_is_large_or_does_not_fit_is_not_taken_whole():
    whole = part().whole_bytes(1)
    room = Fixed.used + budget.SLACK + whole / budget.USABLE
    assert Fixed(CPU, room + 1).takes_whole([part()])
    assert not Fixed(CPU, room - 1).takes_whole([part()])
    assert not Fixed(CPU, room + 1).takes_whole([part()], held=100)
    assert not Fixed(CPU, room + 1).takes_whole([part()], batch=2)
    assert not Fixed(CPU, 100 * GIB, large=whole - 1).takes_whole([part()])
    assert Fixed(CPU, 100 * GIB).takes_whole([part()]) == (whole <= budget.LARGE)
    assert Fixed(torch.device('cuda'), 100 * GIB).takes_whole([part(), part(100_000)])


def test_what_an_engine_keeps_from_earlier_images_is_given_back_for_the_next():
    class Keeping(Engine):
        kept = GIB

        def release(self):
            self.kept = 0

    class Program(MemoryBudget):
        used = property(lambda self: Fixed.used + self.engine.kept)

    room = Fixed.used + budget.SLACK + part().whole_bytes(1) / budget.USABLE
    for more, kept in ((GIB + 1, GIB), (1, 0)):
        program = Program(CPU, room + more, engine=Keeping())
        assert program.takes_whole([part()])
        assert program.engine.kept == kept
    large = Program(CPU, room + 1, large=1, engine=Keeping())
    assert not large.takes_whole([part()]) and large.engine.kept


def test_a_limit_that_is_too_small_is_said_for_python_and_for_the_shell():
    with pytest.raises(ArgumentError) as refused:
        Fixed(CPU, 101 * 2**20).plan([part()], Rows(1, 4096, 512))
    said = r'101MB: too little for 512 x 4096 pixels; the smallest that works is (\d+)MB'
    smallest = int(re.fullmatch(f'max_memory={said}', str(refused.value))[1])
    assert re.fullmatch(f'--max-memory {said}', shell_text(refused.value))
    assert isinstance(refused.value, SagaError)
    assert isinstance(Fixed(CPU, smallest * 2**20).plan([part()], Rows(1, 4096, 512)), RowRunner)


def test_without_a_limit_more_than_half_is_taken_where_the_lowest_strips_need_it():
    free = free_bytes(CPU)

    def needing(share):
        return part(1024, int(share * free * budget.USABLE / 64 / 4 / 3))

    tall = needing(0.7)
    assert Fixed(CPU).plan([tall], Rows(1, tall.height, tall.width)).limit > 0
    wide = needing(1.2)
    with pytest.raises(SagaError, match=r'^\d+MB of memory, with all that is free: too little for') as refused:
        Fixed(CPU).plan([wide], Rows(1, wide.height, wide.width))
    assert not isinstance(refused.value, ArgumentError)


class Holding(Engine):
    """An engine that holds as many bytes for each step."""

    name, size = 'holding', 100 * 2**20

    def holds(self, parts, batch=1, number=4, chunk=None):
        return self.size * sum(len(part.steps) for part in parts)


def test_what_an_engine_will_hold_is_taken_from_the_strips():
    plain, holding = Fixed(CPU, GIB), Fixed(CPU, GIB, engine=Holding())
    rows = Rows(1, 4096, 512)
    without, with_it = plain.plan([part()], rows), holding.plan([part()], rows)
    assert with_it.engine is holding.engine and holding.engine.reasons == {}

    def planned(runner):
        return runner.storage.free + part().strip_bytes(1, runner.limit, runner.chunk)

    assert planned(without) == pytest.approx((GIB - Fixed.used - budget.SLACK) * budget.USABLE)
    assert planned(without) - planned(with_it) == pytest.approx(Holding.size * budget.USABLE)


def test_an_engine_that_would_hold_more_than_the_limit_leaves_gives_way_to_pytorch():
    tight = Fixed(CPU, GIB // 4, engine=Holding())
    runner = tight.plan([part()], Rows(1, 4096, 512))
    assert runner.engine is TORCH
    assert tight.engine.reasons['strips'] == (
        'compiled steps would hold 100 MiB, and 46 MiB of the memory may go to them'
    )
    room = Fixed.used + budget.SLACK + Holding.size / budget.HELD
    roomy = Fixed(CPU, room, engine=tight.engine)
    assert roomy.plan([part()], Rows(1, 4096, 512)).engine is tight.engine
    assert tight.engine.reasons == {}


def test_after_each_strip_what_the_allocator_keeps_is_trimmed_above_the_plan(monkeypatch):
    trims = []
    monkeypatch.setattr(budget, 'trim_memory', lambda: trims.append(1))
    planned = Fixed(CPU, GIB)
    x, steps = MemoryRows(torch.zeros(1, 4096, 4, 8)), [LocalStep(lambda x, grid: (x, grid), 8.0)]
    runner = planned.plan([Part(steps, 4096, 4)], x)
    runner.rows = 1024
    # once before the plan, for what an earlier image left
    assert trims.pop() and not trims
    runner.run(steps, x)
    assert trims == []
    # more than half of what was left when the run was planned
    planned.used = 700 * 2**20
    runner.run(steps, x)
    assert len(trims) == 4


def test_it_explains_itself(tmp_path):
    planned = Fixed(CPU, GIB // 2)
    assert planned.explain() == '0.5 GiB allowed, 0.1 GiB in use, 0.2 GiB for strips'
    assert not planned.takes_whole([part()])
    assert planned.explain() == '0.5 GiB allowed, 0.1 GiB in use: in one piece'
    runner = planned.plan([part()], Rows(1, 4096, 512), folder=tmp_path)
    count = -(-4096 // next(part().passes(1))[0].rows(runner.limit, runner.chunk))
    said = f'0.2 GiB for strips: {count} strips of {-(-4096 // count)} rows, '
    assert planned.explain() == f'0.5 GiB allowed, 0.1 GiB in use, {said}maps in memory'
    runner.storage.new(torch.zeros(1, 1, 64), 1024, 1024)
    assert planned.explain().endswith(f'{said}0.2 GiB of maps in scratch files')
    planned.plan([part(4)], Rows(1, 4, 512))
    assert planned.explain().endswith('0.2 GiB for strips: one strip, maps in memory')
    assert ' allowed (half of what is free), 0.1 GiB in use' in Fixed(CPU).explain()
