"""Make a folder of data once. It appears complete or not at all, and no other folder is replaced."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from saga_mm.errors import SagaError

META = 'meta.json'


def make_once(root: str | Path, meta: dict, fill: Callable[[Path], None], announce: bool = True) -> Path:
    """Make a folder with ``fill``, unless it is there already, made with the same ``meta``.

    The work is done in a hidden folder beside ``root`` and renamed at the end. Of several processes, one works while
    the others wait, where the file system has locks; where it has none, the first to end wins.

    Args:
        root: The folder.
        meta: What it is made with: ``'generator'`` (a name), ``'version'``, ``'arguments'``; JSON values. It is written
            to ``meta.json`` with the number of files per subfolder, by which a damaged folder is recognised.
        fill: Called with an existing empty folder to fill.
        announce: Say on the screen that the folder is made.

    Raises:
        SagaError: ``root`` holds something that was not made by this generator, or it cannot be written.
    """
    target = Path(os.path.realpath(Path(root).expanduser()))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent) as alone:
            if is_complete(target, meta):
                return Path(root)
            _refuse_foreign(target, meta)
            if alone:
                _remove_leftovers(target, meta)
            if announce:
                why = (
                    'there, but incomplete or made with other settings: making it anew'
                    if target.exists()
                    else 'making it'
                )
                print(f'{meta["generator"]} in {root}: {why}', flush=True)
            _make(target, meta, fill)
    except OSError as error:
        raise SagaError(f'Cannot write {root}: {error.strerror or error}. Choose another folder.') from error
    return Path(root)


def is_complete(folder: Path, meta: dict) -> bool:
    """Whether ``folder`` was made with ``meta`` and still has all its files."""
    found = _read_meta(folder, meta)
    if {key: found.get(key) for key in meta} != meta or 'files' not in found:
        return False
    counts = _count_files(folder)
    return all(counts.get(name, 0) >= number for name, number in found['files'].items())


def _count_files(folder: Path) -> dict[str, int]:
    """Number of files in each subfolder that has any; ``meta.json`` does not count."""
    counts = {}
    for path, _, files in os.walk(folder):
        number = len(files) - (Path(path) == folder and META in files)
        if number:
            counts[Path(path).relative_to(folder).as_posix()] = number
    return counts


def _read_meta(folder: Path, meta: dict) -> dict:
    try:
        found = json.loads((folder / META).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get('generator') == meta['generator'] else {}


def _write_meta(folder: Path, meta: dict) -> None:
    (folder / META).write_text(json.dumps(meta, indent=2) + '\n', encoding='utf-8')


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder, for as long as this process lives at most; yields False where there are no locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(handle)


def _refuse_foreign(target: Path, meta: dict) -> None:
    """Raise where replacing ``target`` would delete anything that was not made here."""
    if not target.exists():
        return
    if not target.is_dir():
        raise SagaError(f'{target} is a file, but a folder is to be made there. Choose another folder.')
    made = _read_meta(target, meta).get('files', {})
    foreign = [name for name, number in _count_files(target).items() if number > made.get(name, 0)]
    if foreign or ((target / META).exists() and not made):
        where = ', '.join(str(target / name) for name in sorted(foreign)[:3]) or target / META
        raise SagaError(
            f'{target} is to be made anew, but holds files that {meta["generator"]} did not make (in {where}); '
            'they are left alone. Choose another folder, or move them away.'
        )


def _remove_leftovers(target: Path, meta: dict) -> None:
    """Remove what killed runs left beside the target; only while no other process can be at it."""
    for folder in target.parent.glob(f'.{target.name}.tmp-*'):
        if _read_meta(folder, meta):
            shutil.rmtree(folder, ignore_errors=True)


def _make(target: Path, meta: dict, fill: Callable[[Path], None]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f'.{target.name}.tmp-', dir=target.parent))
    old = temporary.with_name(temporary.name + '-old')
    try:
        temporary.chmod(0o755)
        _write_meta(temporary, meta)
        fill(temporary)
        _write_meta(temporary, {**meta, 'files': _count_files(temporary)})
        if is_complete(target, meta):
            return
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            if not is_complete(target, meta):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
