"""Enhance videos without flicker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from saga_mm.images.background import Background
from saga_mm.images.photo import is_grey
from saga_mm.images.video_kind import stated_size
from saga_mm.images.video_reader import Frame, VideoReader
from saga_mm.images.video_writer import VideoWriter
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.carried_frames import CarriedFrames
from saga_mm.models.enhancement.carry import DECAY, CarryingRunner
from saga_mm.models.enhancement.enhancer_rows import enhance_rows, enhancer_parts
from saga_mm.models.enhancement.exposure import LUMA
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish, mix, with_noise
from saga_mm.rows import MemoryBudget, MemoryRows, Rows
from saga_mm.tasks.strip_parts import parts_in_strips

from .scene_cuts import CutDetector

# what decoder and encoder hold for each pixel of a frame, by experience
CODEC_BYTES = 150
# how close the mean luminance comes to what it shall be, and in how many steps at most
GAIN_ERROR, GAIN_STEPS = 2e-5, 4
# change of the mean luminance, of logarithms, that is followed half as much as a large one; the eye sees about 0.01
UNSEEN = 0.005


def codec_bytes(height: int, width: int, bits: int) -> int:
    """What reading or writing a video holds: twice as much for samples of 16 bits in memory."""
    return CODEC_BYTES * height * width * (1 if bits == 8 else 2)


def require_memory(
    source: str | Path, model: LowLightEnhancer, max_memory: int | MemoryBudget | None, held_bytes: int = 0
) -> None:
    """Refuse a video that needs too much memory, before a decoder takes memory for its first frames.

    Args:
        source: The video.
        model: The model.
        max_memory: As of :class:`VideoEnhancer`.
        held_bytes: As of :class:`VideoEnhancer`, beside the codecs.

    Raises:
        SagaError: The memory is too small.
    """
    size = stated_size(source)
    if size is not None:
        height, width, _ = size
        parts = parts_in_strips(enhancer_parts, model, height, width)
        budget = MemoryBudget.of(model, max_memory)
        budget.plan(parts, Rows(1, height, width), codec_bytes(*size) + held_bytes)


class VideoEnhancer:
    """Enhances frames in their order; what decides tone is carried from one to the next.

    That is the states of the model (:class:`CarryingRunner`), with a brightness the histogram of the answers, and the
    mean luminance of what they give: each frame is scaled to the mean of those before it (:func:`follow`). Cuts are
    found, and a scene starts afresh.

    Args:
        model: The model, in evaluation mode.
        finish: Strength, brightness and denoising.
        decay: The share of what came before in what is carried; 0 enhances frame by frame.
        max_memory: Bytes that the whole program may take, weights and libraries included (on a GPU: of its memory);
            None for half of what is free; or a budget, which explains afterwards how frames were run.
        held_bytes: What the program will hold beside the model's maps and does not hold yet.
        folder: Where maps go that do not fit; None for the system's folder for temporary files.

    Attributes:
        budget: The memory that frames are run in.
        scenes: How many began so far.
    """

    def __init__(
        self,
        model: LowLightEnhancer,
        finish: Finish = AS_IT_IS,
        decay: float = DECAY,
        max_memory: int | MemoryBudget | None = None,
        held_bytes: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        self.model, self.finish, self.decay = model, finish, decay
        self.budget, self.held_bytes, self.folder = MemoryBudget.of(model, max_memory), held_bytes, folder
        self.device = next(model.parameters()).device
        self.scenes = 0
        self._size: tuple[int, int] | None = None
        self._runner: CarryingRunner | CarriedFrames | None = None
        self._is_cut = CutDetector()
        self._level: float | None = None

    def reset(self) -> None:
        """Start afresh with the next frame, as at a cut."""
        self._size = None

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The next frame, enhanced.

        Args:
            frame: ``(H, W, 3)`` RGB, uint8 or uint16; the answer is of the same type.

        Raises:
            SagaError: The memory is too small, or a part of the model has no state that can be carried.
        """
        if self.finish.strength == 0:
            return frame.copy()
        highest = float(np.iinfo(frame.dtype).max)
        planes = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None]
        image = planes.to(self.device, torch.float32).div_(highest)
        self._prepare(image)
        answer = self._answer(image)
        answer.mul_(self._gain(answer))
        answer = mix(image, answer, self.finish.strength)
        # most frames show in their first row that they are not
        if is_grey(frame[:1]) and is_grey(frame):
            answer = (answer * answer.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True).expand_as(answer)
        # a type of one byte before it changes its order
        planes = answer[0].mul(highest).round_().cpu().numpy().astype(frame.dtype)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def _prepare(self, image: torch.Tensor) -> None:
        """Plan for the size of a frame, and forget what came before a cut."""
        cut, size = self._is_cut(image), tuple(image.shape[2:])
        if size != self._size:
            parts, whole = parts_in_strips(enhancer_parts, self.model, *size), CarriedFrames(self.model, self.decay)
            if (
                self.finish.brightness is None
                and self.budget.takes_whole(parts, held=self.held_bytes)
                and whole.fits(image)
            ):
                self._runner = whole
            else:
                planned = self.budget.plan(parts, Rows(1, *size), self.held_bytes, self.folder)
                self._runner = CarryingRunner(planned, self.decay)
        elif not cut:
            return
        self._size, self._level = size, None
        self._runner.reset()
        self.scenes += 1

    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        """The model's answer, not clamped, to an image ``(1, 3, H, W)``."""
        if isinstance(self._runner, CarriedFrames):
            answer = self._runner(image)
            return answer if self.finish.denoise == 1 else with_noise(image, answer, self.finish.denoise)
        self._runner.begin_frame()
        rows = enhance_rows(self.model, MemoryRows(image.permute(0, 2, 3, 1)), self._runner, self.finish)
        return self._runner.gather(rows.answer)[:, :, : rows.height, : rows.width]

    def _gain(self, answer: torch.Tensor) -> float:
        """What takes the mean luminance of an answer to that of the scene so far."""
        level = _luminance(answer)
        newest = math.log(level)
        self._level = newest if self._level is None else follow(self._level, newest, self.decay)
        wanted, gain = math.exp(self._level), 1.0
        # more than once, because what is clipped does not follow
        for _ in range(GAIN_STEPS):
            if abs(level / wanted - 1) < GAIN_ERROR:
                break
            gain *= wanted / level
            level = _luminance(answer, gain)
        return gain


class EnhancedVideo(NamedTuple):
    """The result of enhancing a video.

    Attributes:
        height: Rows of a frame.
        width: Columns of a frame.
        frames: How many were written.
        scenes: How many were found.
        missing: What of the source could not be read, in a few words; empty if all could be.
        notes: What of it is otherwise in the written file or was left out, in a few words; empty for most.
    """

    height: int
    width: int
    frames: int
    scenes: int
    missing: str
    notes: str = ''


def enhance_video(
    source: str | Path,
    target: str | Path,
    model: LowLightEnhancer,
    finish: Finish = AS_IT_IS,
    decay: float = DECAY,
    max_memory: int | MemoryBudget | None = None,
    tell: Callable[[float], None] | None = None,
    show: Callable[[Frame, np.ndarray], None] | None = None,
) -> EnhancedVideo:
    """Enhance a video into a file with the same size, frame rate and sound.

    Args:
        source: The video. Frames are enhanced as they are shown: turned upright.
        target: The file to write; it appears when it is complete. Its ending says of which kind it is.
        model: The model, in evaluation mode.
        finish: Strength, brightness and denoising.
        decay: As of :class:`VideoEnhancer`.
        max_memory: As of :class:`VideoEnhancer`.
        tell: Called with the share that is done, up to 1.
        show: Called with each frame before and after; may say by ``held_bytes`` what it holds.

    Raises:
        SagaError: No frame can be read, the file cannot be written, or the memory is too small.
    """
    drawn = getattr(show, 'held_bytes', 0)
    if finish.strength:
        require_memory(source, model, max_memory, drawn)
    with VideoReader(source) as reader, _writer(target, reader) as writer:
        kind, count = reader.kind, 0
        held = codec_bytes(kind.height, kind.width, kind.bits) + drawn
        enhance = VideoEnhancer(model, finish, decay, max_memory, held, Path(target).parent)
        # of sound and subtitles, since the last frame
        packets: list[Any] = []
        # a frame is encoded while the next one is computed
        with Background() as background:
            for frame in reader.read(packets.append):
                answer = enhance(frame.pixels)
                background(_write, writer, packets.copy(), answer, frame.time)
                packets.clear()
                count += 1
                if show is not None:
                    show(frame, answer)
                if tell is not None and reader.frames:
                    tell(min(count / reader.frames, 1.0))
            for packet in packets:
                background(writer.copy, packet)
        notes = '; '.join([*writer.changes, *reader.left_out])
        return EnhancedVideo(kind.height, kind.width, count, enhance.scenes, reader.missing, notes)


def _writer(target: str | Path, reader: VideoReader) -> VideoWriter:
    return VideoWriter(target, reader.kind, reader.sounds, reader.subtitles)


def _write(writer: VideoWriter, packets: Sequence[Any], answer: np.ndarray, time: int) -> None:
    """Add a frame, after the packets of sound and subtitles that come before it."""
    for packet in packets:
        writer.copy(packet)
    writer.write(answer, time)


def follow(level: float, newest: float, decay: float) -> float:
    """The level after a newest value: an exponential mean, which follows a change the less the smaller it is.

    The noise of single frames stays below what the eye sees. An exponential mean would wander with it; this one is
    steady, and follows what can be seen as fast as that.

    Args:
        level: Logarithm of the mean luminance so far.
        newest: The same of the newest frame.
        decay: The share of what came before after a large change.
    """
    change = newest - level
    seen = change**2 / (change**2 + UNSEEN**2)
    return level + (1 - decay**seen) * change


def _luminance(image: torch.Tensor, gain: float = 1.0) -> float:
    """Mean luminance of ``gain * image``, a batch ``(1, 3, H, W)``, clamped; above 0, so that it has a logarithm."""
    means = image.clamp(0, 1 / gain).mean((0, 2, 3)).tolist()
    return gain * sum(share * mean for share, mean in zip(LUMA, means)) + 1e-4
