"""Run an enhancer that was exported for strips, as ``page/strips.js`` does in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .session import open_session, run_session


class StripModel:
    """The graphs of ``saga_mm.export.strip_graphs``, which says what they compute.

    Args:
        plan: Their description.
        files: The ONNX files by name.
    """

    def __init__(self, plan: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self.plan = plan
        self.sessions = {name: open_session(content, 'cpu') for name, content in files.items()}

    def __call__(self, image: np.ndarray, rows: int, brightness: float | None = None) -> np.ndarray:
        """The answer of the model, ``(H, W, 3)`` float32, not clamped.

        Args:
            image: ``(H, W, 3)``, uint8.
            rows: Of a strip, in units of the plan.
            brightness: Mean luminance that the image is exposed to; None for what the model predicts.
        """
        (height, width), unit = image.shape[:2], self.plan['unit']
        # edges repeated, as the model pads; the fourth channel is that of a canvas, which is not looked at
        padded = np.pad(image, ((0, -height % unit), (0, -width % unit), (0, 1)), 'edge')
        maps, state, gain = {'image': padded}, [], self._gain(padded[:height, :width], rows, brightness)
        for graph in self.plan['graphs']:
            state = self._run(graph, maps, state, rows, gain)
        return maps['answer'][:height, :width] / np.float32(self.plan['scale'])

    def _gain(self, image: np.ndarray, rows: int, brightness: float | None) -> dict[str, np.ndarray]:
        """Of the exposure, if the model has one."""
        exposure = self.plan['exposure']
        if exposure is None:
            return {}
        sparse, levels, count = exposure['sparse'], 0, -(-len(image) // exposure['sparse'])
        for start in range(0, len(image), rows * sparse):
            piece = np.ascontiguousarray(image[start : start + rows * sparse])
            (written,) = run_session(self.sessions[exposure['write']], {'image': piece}, 'a strip')
            levels = levels + written * (-(-len(piece) // sparse) / count)
        given = {'levels': np.float32(levels), 'wanted': np.array([brightness or 0], np.float32)}
        return {'gain': run_session(self.sessions[exposure['gain']], given, 'a state')[0]}

    def _run(
        self,
        graph: Mapping[str, Any],
        maps: dict[str, np.ndarray],
        state: Sequence[np.ndarray],
        rows: int,
        gain: Mapping[str, np.ndarray],
    ) -> list[np.ndarray]:
        """Fill the maps that a graph gives, and return the state that comes after it."""
        units = len(maps['image']) // self.plan['unit']
        made, sums = {name: [] for name in graph['gives']}, []
        for start in range(0, units, rows):
            stop = min(start + rows, units)
            first, last = max(start - graph['halo'], 0), min(stop + graph['halo'], units)
            given = {name: self._rows(name, maps[name], first, last) for name in graph['maps']}
            given |= gain if graph['gain'] else {}
            answers = run_session(self.sessions[graph['read']], given | dict(zip(graph['state'], state)), 'a strip')
            for name, answer in zip(graph['gives'], answers):
                made[name].append(self._rows(name, answer, start - first, stop - first))
            if graph['write']:
                written = run_session(self.sessions[graph['write']], {'map': made[graph['gives'][-1]][-1]}, 'a strip')
                # means over strips, so that a mean over all weighs each by its rows
                sums.append([part * ((stop - start) / units) for part in written])
        maps |= {name: np.concatenate(parts) for name, parts in made.items()}
        return [sum(parts) for parts in zip(*sums)]

    def _rows(self, name: str, values: np.ndarray, start: int, stop: int) -> np.ndarray:
        places = self.plan['maps'][name]['places']
        return np.ascontiguousarray(values[start * places : stop * places])
