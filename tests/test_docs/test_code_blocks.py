"""The code of README and docs: Python runs, the options of commands parse, JSON loads.

A block that cannot run has a comment above it that says why: ``<!-- not run: the reason -->``. The Python blocks of a
page share one namespace, in a folder that holds the files which the page names.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from saga_mm.cli.main import module_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
FENCE = re.compile(r'^(?:<!-- not run: (.+?) -->\n\n?)?^ *```([\w{}-]*)[^\n]*\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
# sizes of the pages, and what the tests run instead
SMALLER = {'800, 1333': '64, 96', '1280, 1280': '64, 96'}
SHELL = ('bash', 'console')
TARGETS = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))


class Block(NamedTuple):
    page: Path
    language: str
    code: str
    reason: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(page, language, code, reason or '') for reason, language, code in FENCE.findall(page.read_text())]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def name_of(value: Any) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ''


def pages_with(*languages: str) -> Any:
    pages = sorted({block.page for block in BLOCKS if block.language in languages and not block.reason})
    return pytest.mark.parametrize('page', pages, ids=name_of)


def write_photo(path: Path, height: int = 48, width: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(0, 90, height * width * 3).reshape(height, width, 3)
    cv2.imwrite(str(path), rows.astype(np.uint8))


@pytest.fixture(scope='module')
def named_files(tmp_path_factory: pytest.TempPathFactory, onnx_models: SimpleNamespace) -> Path:
    """A folder with small files of the names that the pages use."""
    folder = tmp_path_factory.mktemp('named') / 'files'
    for name in ('photo.jpg', 'dark.jpg', 'huge.tif', 'photos/0001.jpg'):
        write_photo(folder / name)
    (folder / 'street').mkdir()
    (folder / 'street' / 'labels.json').write_text('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}')
    (folder / 'masks').mkdir()
    cv2.imwrite(str(folder / 'masks' / '0001.png'), np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 3)
    onnx_models.save(onnx_models.enhancer(), folder / 'enhancer.onnx')
    onnx_models.save(onnx_models.segmentor(), folder / 'saga_upernet.onnx')
    onnx_models.save(onnx_models.classifier(), folder / 'classifier.onnx')
    (folder / 'configs').mkdir()
    config = folder / 'configs' / 'saga_upernet.py'
    config.write_text(f'_base_ = {str(ROOT / "tests" / "tiny_segmentation.py")!r}\n')
    save_segmentor(config, folder / 'work_dirs' / 'saga_upernet' / 'epoch_16.pth')
    return folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_files: Path) -> dict[str, Any]:
    """A copy of that folder, to be in; and the names that the pages take for granted."""
    shutil.copytree(named_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return {'dark': np.zeros((32, 48, 3), np.uint8), 'picture': np.zeros((32, 48, 3), np.uint8)}


def save_segmentor(config: Path, path: Path) -> None:
    from mmseg.registry import MODELS

    cfg = Config.fromfile(config)
    init_default_scope('mmseg')
    path.parent.mkdir(parents=True)
    classes = [f'class {number}' for number in range(6)]
    meta = {'dataset_meta': {'classes': classes, 'palette': [[20 * number] * 3 for number in range(6)]}}
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': meta}, path)


@pages_with('python')
def test_python_runs(page: Path, files: dict[str, Any]):
    namespace = {'__name__': '__page__', **files}
    for block in blocks_of(page):
        if block.language == 'python' and not block.reason:
            code = block.code
            for size, smaller in SMALLER.items():
                code = code.replace(size, smaller)
            exec(compile(code, name_of(page), 'exec'), namespace)


def commands_of(code: str) -> list[list[str]]:
    """The words of each command, without comments, loops and variables that are set."""
    found = []
    for line in code.replace('\\\n', ' ').splitlines():
        words = shlex.split(line.removeprefix('$ '), comments=True)
        while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
            words = words[1:]
        if words and words[0] not in ('for', 'do', 'done'):
            found.append(words)
    return found


def parse_verb(verb: str, options: list[str]) -> None:
    """Let a verb parse its options, and nothing more."""
    module_of(verb).parser().parse_intermixed_args(options)


def verb_of(tool: str) -> str:
    """The verb that a tool stands for."""
    return re.search(r"run_verb\('([\w-]+)'\)", (ROOT / tool).read_text())[1]


def check_pip(words: list[str]) -> None:
    """Requirement files and extras that an installation names are there."""
    project = (ROOT / 'pyproject.toml').read_text()
    assert all((ROOT / word).exists() for word in words if word.startswith('requirements'))
    for extra in re.findall(r'\[(\w[\w-]*)\]', ' '.join(words)):
        assert re.search(rf'^{extra} = \[', project, re.MULTILINE)


def check_command(words: list[str]) -> None:
    match words:
        case ['python', tool, *options] if tool.startswith('tools/'):
            parse_verb(verb_of(tool), options)
        case ['saga-mm', verb, *options]:
            parse_verb(verb, options)
        case ['python', '-m', package]:
            assert importlib.util.find_spec(f'{package}.__main__')
        case ['make', *targets]:
            assert {target for target in targets if '=' not in target} <= TARGETS
        case ['pip', 'install', *rest]:
            check_pip(rest)
        case ['source', '.venv/bin/activate'] | ['git', 'clone', *_] | ['cd', *_]:
            pass
        case _:
            raise AssertionError(f'the tests do not know {shlex.join(words)!r}')


@pages_with(*SHELL)
def test_commands_parse(page: Path, files: dict[str, Any]):
    for block in blocks_of(page):
        if block.language in SHELL and not block.reason:
            for words in commands_of(block.code):
                try:
                    check_command(words)
                except SystemExit as exit_status:
                    raise AssertionError(f'{shlex.join(words)}: not parsed') from exit_status


@pages_with('json')
def test_json_loads(page: Path):
    for block in blocks_of(page):
        if block.language == 'json':
            assert json.loads(block.code)


def test_every_block_has_a_language_that_is_checked_or_is_text():
    directives = {'{toctree}', '{include}', '{eval-rst}', '{configs}', '{verbs}'}
    assert {block.language for block in BLOCKS} <= {'python', 'json', 'text', *SHELL, *directives}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_no_command_hides_in_an_indented_block(page: Path):
    assert not re.search(r'^\n {4}(python tools/|saga-mm |make |pip )', page.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ('code', 'error'),
    [
        ('python tools/enhance.py photo.jpg --no-such-option', SystemExit),
        ('make nothing', AssertionError),
        ('pip install .[nothing]', AssertionError),
        ('frobnicate', AssertionError),
    ],
)
def test_wrong_commands_are_found(code: str, error: type[BaseException]):
    with pytest.raises(error):
        check_command(*commands_of(code))
