"""States on their way from where they are written to where they are read."""

from saga_mm.ops.carrying import carried, carry_states


def test_states_are_replaced_inside_the_context_alone():
    seen = []
    with carry_states(lambda state: seen.append(state) or -state):
        assert (carried(1), carried(2)) == (-1, -2)
    assert (carried(3), seen) == (3, [1, 2])
