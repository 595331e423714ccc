"""Read a user's text and JSON files in UTF-8, UTF-16 and UTF-32."""

import codecs
import json
import os
from pathlib import Path
from typing import Any

from saga_mm.errors import SagaError

# the longest mark first: that of UTF-32 begins like that of UTF-16
MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
DAMAGED = 'The file is damaged or cut off: get or export it again.'
DEEPEST = 100
# what is given for a text, by its first bytes
NO_TEXTS = {
    b'\x1f\x8b': 'is compressed by gzip. Unpack it first.',
    b'PK\x03\x04': 'is a zip archive. Unpack it first.',
    b'\x93NUMPY': 'is an array of NumPy (.npy), and no text.',
    b'\x89PNG': 'is a picture, and no text.',
    b'\xff\xd8\xff': 'is a picture, and no text.',
}


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        SagaError: The file cannot be read, or is in an encoding that cannot be told for certain.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SagaError(f'{path}: cannot be read ({error.strerror or error})') from error
    return decode_text(content, path)


def decode_text(content: bytes, path: str | os.PathLike[str]) -> str:
    """The text in the bytes of a file, which ``path`` names in messages.

    Raises:
        SagaError: As :func:`read_text`.
    """
    for head, reason in NO_TEXTS.items():
        if content.startswith(head):
            raise SagaError(f'{path}: {reason}')
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), None) or _without_mark(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != 'utf-8':
            reason = f'begins as {encoding.upper().removesuffix("-SIG")} and does not go on so'
            raise SagaError(f'{path}: {reason}. {DAMAGED}') from error
        raise SagaError(f'{path}: {_foreign(content, error.start)}') from error


def require_utf8(path: str | os.PathLike[str]) -> None:
    """Refuse a text file that a library will read, and would not read as it is meant: only plain UTF-8 is.

    Raises:
        SagaError: The file cannot be read, or is not in UTF-8 without a byte order mark.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SagaError(f'{path}: cannot be read ({error.strerror or error})') from error
    text = decode_text(content, path)
    if text.encode('utf-8', 'replace') != content:
        raise SagaError(f'{path}: begins with a byte order mark or is in UTF-16. Save it as UTF-8 without such a mark.')


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises:
        SagaError: The file cannot be read, is no JSON, names a key of an object twice, or is nested more than
            ``DEEPEST`` times.
    """
    text = read_text(path)
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if reason := _other_format(text, error):
            raise SagaError(f'{path}: {reason}') from error
        where = f'{path}, line {error.lineno}, column {error.colno}'
        raise SagaError(f'{where}: malformed JSON ({error.msg}). {DAMAGED}') from error
    except RecursionError as error:
        raise SagaError(f'{path}: malformed JSON (nested too deeply). {DAMAGED}') from error
    except ValueError as error:
        # Python refuses integers of more than 4,300 digits
        reason = str(error) if isinstance(error, _TwiceError) else 'a number of thousands of digits'
        raise SagaError(f'{path}: malformed JSON ({reason}). Correct or export the file again.') from error
    if _deeper(data, DEEPEST):
        raise SagaError(f'{path}: JSON nested more than {DEEPEST} times. Correct or export the file again.')
    return data


def _other_format(text: str, error: json.JSONDecodeError) -> str:
    """The format of a text that is not one JSON value; empty if it may be damaged JSON."""
    start = text.lstrip()
    if not start:
        return 'is empty.'
    if start.startswith('<'):
        return 'is XML, and no JSON. Convert it first.'
    if error.msg == 'Extra data' and start[0] in '{[':
        return f'holds several values of JSON, the second in line {error.lineno}, and should be one.'
    if start[0] not in '{["':
        return f'is no JSON: it begins with {start.splitlines()[0][:40]!r}. Convert it first.'
    return ''


class _TwiceError(ValueError):
    """A key that an object names twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _TwiceError(f'the key {twice[:60]!a} twice in one object')
    return found


def _deeper(data: Any, most: int) -> bool:
    """Whether lists and objects are nested more than ``most`` times, found level by level."""
    level = [data] if isinstance(data, (dict, list)) else []
    for _ in range(most):
        if not level:
            return False
        parts = (part for node in level for part in (node.values() if isinstance(node, dict) else node))
        level = [part for part in parts if isinstance(part, (dict, list))]
    return bool(level)


def _without_mark(content: bytes) -> str:
    """The encoding of text that begins without a mark: with letters of ASCII, every other byte of UTF-16 is 0."""
    start = content[:64]
    if len(start) > 3 and len(start) % 2 == 0:
        for offset, name in ((1, 'utf-16-le'), (0, 'utf-16-be')):
            if not any(start[offset::2]) and all(start[1 - offset :: 2]):
                return name
    return 'utf-8'


def _foreign(content: bytes, start: int) -> str:
    """What to say of text that is not UTF-8."""
    line = content.count(b'\n', 0, start) + 1
    if b'\0' in content:
        return f'is no text (bytes of 0, and line {line} is not UTF-8). {DAMAGED}'
    left = max(start - 12, content.rfind(b'\n', 0, start) + 1)
    around = content[left : start + 12].split(b'\n')[0]
    guess = around.decode('cp1252', 'replace')
    return (
        f'line {line} is not in UTF-8. In Windows-1252 (Latin-1) it reads {guess!r}: if that is right, save '
        'the file as UTF-8, such as by: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW. If not, it is in another encoding, '
        'or damaged.'
    )
