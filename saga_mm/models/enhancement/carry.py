"""A runner that carries states from one frame of a video to the next."""

from typing import Any

from saga_mm.errors import SagaError
from saga_mm.rows import RowRunner, RowStep

DECAY = 0.9


class CarryingRunner(RowRunner):
    """Runs a model over the frames of a video, whose global states are means over time as well.

    A state holds means over the tokens of a frame. What is read of it is merged with what was read at the frame before,
    as if that were more tokens of the same set::

        S_t = (1 - decay) write(x_t) + decay S_{t-1}

    so that the noise of one frame cannot change its tone. The runner sees every global state of the model, in the same
    order for each frame. The first frame, and the first after :meth:`reset`, is computed by itself.

    Args:
        runner: How the model is run over one frame, as a :class:`~saga_mm.rows.MemoryBudget` plans it.
        decay: The share of what came before, from 0 (frame by frame) to below 1.

    Raises:
        ValueError: If the decay is out of that range.
    """

    def __init__(self, runner: RowRunner, decay: float = DECAY) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f'decay={decay} must be from 0 to below 1')
        options = {'engine': runner.engine, 'number': runner.number, 'budget': runner.budget}
        super().__init__(runner.storage, runner.limit, runner.chunk, runner.rows, **options)
        self.decay = decay
        self._kept: list[Any] = []
        self._next = 0

    def begin_frame(self) -> None:
        """The next state is the first of a frame."""
        self._next = 0

    def reset(self) -> None:
        """Start a new scene: forget the states of earlier frames."""
        self._kept.clear()
        self._next = 0

    def _final_state(self, step: RowStep, state: Any) -> Any:
        if state is None:
            return None
        if step.sweeps > 1 or 'count' not in getattr(state, '_fields', ()):
            raise SagaError(
                f'{_name(step)}: keeps no mean that could be carried from frame to frame; a video needs a model with '
                'the attention saga, linear or focused'
            )
        if self._next < len(self._kept):
            past = self._kept[self._next]
            # with so many tokens behind it, its share in the merged mean is the decay
            past = past._replace(count=state.count * self.decay / (1 - self.decay))
            self._kept[self._next] = step.merge([state, past])._replace(count=state.count)
        else:
            self._kept.append(state)
        self._next += 1
        return self._kept[self._next - 1]


def _name(step: RowStep) -> str:
    """Class of the attention in a block, or in a neck whose levels are steps."""
    inner = getattr(step, 'neck', step)
    return type(getattr(inner, 'attn', inner)).__name__
