"""Recognise files by their first bytes, and check where links in a folder lead."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

# endings of raw photographs, some of which begin as TIFF files do
RAW_SUFFIXES = (
    *('.arw', '.cr2', '.dng', '.nef', '.nrw', '.orf', '.pef', '.raf', '.raw', '.rw2', '.srw', '.3fr', '.iiq'),
    *('.x3f', '.rwl', '.mrw', '.dcr', '.kdc', '.erf', '.mef', '.mos', '.gpr', '.srf', '.sr2', '.fff'),
)
VIDEO_SUFFIXES = (
    *('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.3gp', '.flv'),
    *('.mts', '.m2ts', '.ogv', '.mxf', '.vob'),
)
# of photographs that are not read
UNREAD_SUFFIXES = (
    *(*RAW_SUFFIXES, '.cr3', '.heic', '.heif'),
    *('.exr', '.hdr', '.jxl', '.jxr', '.wdp', '.dds', '.fits', '.dcm', '.xcf'),
)
# of sound in files that may also hold videos
SOUND_SUFFIXES = ('.m4a', '.m4b', '.mka', '.wma', '.weba')
RAW = 'a raw photograph, which is not read: develop it to JPEG, PNG or TIFF first'
PICTURE, VIDEO = 'picture', 'video'


def _unread(kind: str) -> str:
    return f'{kind}, which is not read: save it as JPEG, PNG or TIFF first'


HEIC = _unread('a HEIC photograph')
_HEADS = {
    b'\xff\xd8\xff': PICTURE,
    b'\x89PNG\r\n\x1a\n': PICTURE,
    b'GIF8': PICTURE,
    # JPEG 2000, in a container and bare; BigTIFF of both byte orders; Photoshop
    b'\x00\x00\x00\x0cjP  ': PICTURE,
    b'\xff\x4f\xff\x51': PICTURE,
    b'II+\0': PICTURE,
    b'MM\0+': PICTURE,
    b'8BPS': PICTURE,
    # Matroska and WebM; Flash; MPEG in packets and bare; ASF, of which WMV is one; MXF; uncompressed frames
    b'\x1aE\xdf\xa3': VIDEO,
    b'FLV\x01': VIDEO,
    b'\x00\x00\x01\xba': VIDEO,
    b'\x00\x00\x01\xb3': VIDEO,
    b'0&\xb2u\x8ef\xcf\x11': VIDEO,
    b'\x06\x0e\x2b\x34': VIDEO,
    b'YUV4MPEG2': VIDEO,
    # Fuji, Sigma, Minolta, Olympus, Panasonic
    b'FUJIFILMCCD-RAW': RAW,
    b'FOVb': RAW,
    b'\0MRM': RAW,
    b'IIRO': RAW,
    b'IIRS': RAW,
    b'IIU\0': RAW,
    b'v/1\x01': _unread('an OpenEXR picture'),
    b'#?RADIANCE': _unread('a Radiance HDR picture'),
    b'#?RGBE': _unread('a Radiance HDR picture'),
    b'\xff\x0a': _unread('a JPEG XL picture'),
    b'\x00\x00\x00\x0cJXL ': _unread('a JPEG XL picture'),
    b'II\xbc': _unread('a JPEG XR picture'),
    b'DDS ': _unread('a DDS texture'),
    b'SIMPLE  =': _unread('a FITS picture'),
    b'gimp xcf': _unread("a picture of GIMP's"),
}
DICOM = _unread('a DICOM picture')
# of QuickTime files from before the box that names their kind
_QUICKTIME = (b'moov', b'wide', b'free', b'skip', b'pnot')
# bytes of a packet of MPEG streams, in broadcasts and on cameras' cards, and where the first one begins
_PACKETS = ((188, 0), (192, 4))
# folders in which systems and programs keep copies, thumbnails and what was deleted
JUNK_FOLDERS = ('@eadir', '__macosx', '#recycle', '@recycle', '#snapshot', '$recycle.bin', 'lost+found')
_HEIC_BRANDS = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
# of the folder above that of the pictures: markers of a repository whose store links lead into
_REPOSITORY = ('.git', '.dvc', '.datalad')


def is_junk_folder(name: str) -> bool:
    """Whether pictures in a folder of this name are nobody's data: it is hidden, or one of :data:`JUNK_FOLDERS`."""
    return name.startswith('.') or name.lower() in JUNK_FOLDERS


def kind_of_content(path: str | os.PathLike[str]) -> str:
    """``'picture'``, ``'video'``, why a photograph is not read (such as :data:`RAW`), or ``''`` for others.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(400)
    if Path(path).suffix.lower() in SOUND_SUFFIXES:
        return ''
    for start, kind in _HEADS.items():
        if head.startswith(start):
            return kind
    if head[:4] in (b'II*\0', b'MM\0*'):
        return RAW if Path(path).suffix.lower() in RAW_SUFFIXES else PICTURE
    if head[:4] == b'RIFF':
        return {b'WEBP': PICTURE, b'AVI ': VIDEO}.get(head[8:12], '')
    if head[4:8] == b'ftyp':
        brand = head[8:12]
        if brand == b'crx ':
            return RAW
        if brand in (b'M4A ', b'M4B '):
            return ''
        # some programs name the container first, and AVIF among what it can be read as
        brands = head[8 : min(int.from_bytes(head[:4], 'big'), 64)]
        if brand in (b'avif', b'avis') or (brand in _HEIC_BRANDS and b'avif' in brands):
            return PICTURE
        return HEIC if brand in _HEIC_BRANDS else VIDEO
    # a text may have these words there, and no number of bytes before
    if head[4:8] == b'mdat' or (head[4:8] in _QUICKTIME and head[:1] == b'\0') or _is_stream(head):
        return VIDEO
    if head[128:132] == b'DICM':
        return DICOM
    if head[:2] == b'BM' and head[6:10] == bytes(4):
        return PICTURE
    if head[:1] == b'P' and head[1:2] in b'123456' and head[2:3].isspace():
        return PICTURE
    return ''


def _is_stream(head: bytes) -> bool:
    starts = ([first, first + size, first + 2 * size] for size, first in _PACKETS)
    return any(all(head[at : at + 1] == b'G' for at in places) for places in starts)


def refusal_of(path: Path, folder: Path) -> str | None:
    """Why an entry of a folder cannot be read as a file, or None: a link out of the data, a pipe, nothing there.

    Args:
        path: The entry.
        folder: The folder that the user named.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if not path.is_symlink():
            return f'cannot be read ({error.strerror})'
        if error.errno == errno.ELOOP:
            return 'a link to itself'
        return f'a link to {os.readlink(path)}, which is not there'
    if path.is_symlink() and leads_out(path, folder):
        return f'a link that leads out of the data, to {os.path.realpath(path)}; name the folder it leads to as well'
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return 'a pipe or a device, not a file'
    return None


def leads_out(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether a path leads, by links, to where the data of a folder do not lie.

    The data lie in the folder, up to three folders above it (``images/train`` beside ``store``), and in the repository
    that holds it, where DVC and git-annex keep their stores. A user's home and the roots of a disk are no such folders.
    """
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if real == root or root in real.parents:
        return False
    above = [parent for parent in root.parents if len(parent.parts) > 2 and parent != Path.home()]
    homes = above[:3] + [parent for parent in above if any((parent / name).exists() for name in _REPOSITORY)][:1]
    return not any(home in real.parents for home in homes)
