"""Read and check mask files of semantic segmentation as mmseg reads them."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from saga_mm.images.headers import orientation, reason_of
from saga_mm.images.pictures import open_picture
from saga_mm.images.png_check import require_intact

SAVE = 'Save class ids as an 8-bit PNG of one channel.'
# Pillow refuses larger ones as decompression bombs
PILLOW_LIMIT = 2 * (1024**3 // 4 // 3)


class MaskError(Exception):
    """A mask that cannot be used: the kind of problem, its cure, and what is special about this one."""

    def __init__(self, kind: str, cure: str, detail: str) -> None:
        super().__init__(kind, cure, detail)
        self.kind, self.cure, self.detail = kind, cure, detail


class MaskFile(NamedTuple):
    """A mask file whose head was read.

    Attributes:
        path: The file.
        content: All its bytes.
        size: ``(width, height)``.
        mode: Pillow's, such as ``P`` for a palette.
        format: Pillow's, such as ``PNG``.
        turned: Whether EXIF says that it is to be seen turned or mirrored; decoders leave it as it is stored.
    """

    path: str
    content: bytes
    size: tuple[int, int]
    mode: str
    format: str
    turned: bool = False


def open_mask(path: str) -> MaskFile:
    """Read a mask file and look at its head.

    Raises:
        MaskError: It is no picture.
    """
    try:
        content = Path(path).read_bytes()
        require_intact(content)
        with open_picture(io.BytesIO(content)) as head:
            return MaskFile(path, content, head.size, head.mode, head.format or '', orientation(head) > 1)
    except Exception as error:  # damaged files raise almost anything
        raise _unreadable(path, error) from error


def decode_mask(mask: MaskFile, backend: str = 'pillow') -> np.ndarray:
    """Class ids of a mask as ``(H, W)`` uint8, by the same call that mmseg's ``LoadAnnotations`` makes.

    Pillow gives the indices of a palette mask, and OpenCV its colours.

    Args:
        mask: The file.
        backend: ``imdecode_backend`` of ``LoadAnnotations``.

    Raises:
        MaskError: It is damaged, has colours, or values that do not fit into 8 bits.
    """
    import mmcv

    if backend == 'pillow' and mask.size[0] * mask.size[1] > PILLOW_LIMIT:
        raise MaskError(
            f'mask of more than {PILLOW_LIMIT:,} pixels, which Pillow refuses',
            "Give LoadAnnotations imdecode_backend='cv2', or cut the images into pieces.",
            f'{mask.size[0]} x {mask.size[1]}',
        )
    try:
        values = mmcv.imfrombytes(mask.content, flag='unchanged', backend=backend)
        if values is None:
            raise ValueError(f'{backend} does not read it')
    except Exception as error:  # damaged files raise almost anything
        raise _unreadable(mask.path, error) from error
    if values.ndim == 3 and values.shape[2] > 1:
        raise _coloured(mask, backend, values)
    values = values.reshape(values.shape[:2])
    if mask.mode == 'P' and (moved := _moved_greys(mask, values)):
        raise MaskError(
            'palette mask whose indices are not the greys that it shows', f'Indices are read. {SAVE}', moved
        )
    # as mmseg does, whatever the type: what is not the same afterwards was cut
    with np.errstate(invalid='ignore'):
        ids = values.astype(np.uint8, copy=False)
    if not np.array_equal(ids, values):
        raise MaskError(
            'mask with values that 8 bits do not hold',
            f'mmseg cuts them to 8 bits, so that 300 becomes 44. {SAVE}',
            f'{mask.mode}, {values.min()} to {values.max()}',
        )
    return ids


def mask_warnings(mask: MaskFile) -> list[tuple[str, str]]:
    """Kinds and cures of what is doubtful about a mask that can be used."""
    found = []
    if mask.mode.startswith(('I', 'F')):
        found.append(('mask of more than 8 bits', f'Its values fit and are read as they are. {SAVE}'))
    if mask.format in ('JPEG', 'MPO'):
        found.append(('mask stored as JPEG', f'Its compression changes ids along borders. {SAVE}'))
    return found


def count_ids(ids: np.ndarray) -> np.ndarray:
    """Pixels of each id, 256 counts, in strips that keep the memory small."""
    rows = max(1, 2**20 // max(1, ids.shape[1]))
    strips = (ids[start : start + rows] for start in range(0, len(ids), rows))
    return sum((np.bincount(strip.ravel(), minlength=256) for strip in strips), np.zeros(256, np.int64))


def _moved_greys(mask: MaskFile, values: np.ndarray) -> str:
    """Where a palette shows dark greys other than its indices, some of each.

    Programs that save a grey mask as GIF keep the greys that occur, and number them anew.
    """
    with open_picture(io.BytesIO(mask.content)) as image:
        colours = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    used = np.unique(values)
    used = used[used < len(colours)]
    shown = colours[used]
    if not len(used) or (shown != shown[:, :1]).any() or (shown[:, 0] == used).all():
        return ''
    # greys of a picture that is to be looked at are far apart
    small = shown[:, 0][shown[:, 0] < 255]
    if len(small) and small.max() > 4 * len(used) + 8:
        return ''
    return ', '.join(f'{index} shows {grey}' for index, grey in zip(used, shown[:, 0]) if index != grey)[:60]


def _unreadable(path: str, error: Exception) -> MaskError:
    reason = 'is no picture' if isinstance(error, UnidentifiedImageError) else reason_of(error, path)
    return MaskError('unreadable mask', f'Get the files again, or take their images out. {SAVE}', reason)


def _coloured(mask: MaskFile, backend: str, values: np.ndarray) -> MaskError:
    if mask.mode == 'P':
        cure = "Take imdecode_backend out of LoadAnnotations: by default it reads a palette mask's indices."
        return MaskError(f'palette mask of which imdecode_backend={backend!r} reads colours', cure, mask.mode)
    grey = (values[..., :3] == values[..., :1]).all() if values.shape[2] > 2 else True
    detail = f'{mask.mode}, its colours are grey: its first channel may hold the ids' if grey else mask.mode
    return MaskError('colour mask where class ids are needed', SAVE, detail)
