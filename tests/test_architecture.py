"""The imports of the package against the table of rooms in ``docs/architecture.md``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(r'^\| (`\w+`(?: `\w+`)*) \|[^|]*\|([^|]*)\|$', (ROOT / 'docs' / 'architecture.md').read_text(), re.M)
TABLE = {room: set(re.findall(r'\w+', may)) for rooms, may in ROWS for room in re.findall(r'\w+', rooms)}
MODULES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
    for package in ('saga_mm', 'benchmarks')
    for path in (ROOT / package).rglob('*.py')
}


def room_of(module: str) -> str:
    package, *rest = module.split('.')
    return package if package == 'benchmarks' or not rest else rest[0]


def imports_of(module: str) -> Iterator[str]:
    """Modules of the package that a module imports, anywhere in its file."""
    path = MODULES[module]
    package = module if path.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit('.', node.level - 1)[0] if node.level else ''
            base = '.'.join(filter(None, (above, node.module)))
            for alias in node.names:
                name = f'{base}.{alias.name}'
                yield from (found for found in (name if name in MODULES else base,) if found in MODULES)


def test_every_room_is_in_the_table():
    assert set(map(room_of, MODULES)) == set(TABLE)


@pytest.mark.parametrize('room', TABLE)
def test_a_room_imports_what_the_table_says(room):
    imported = {room_of(found) for module in MODULES if room_of(module) == room for found in imports_of(module)}
    assert imported - {room} == TABLE[room]


def test_rooms_stand_below_what_they_import():
    order = list(TABLE)
    assert not [(room, other) for room in order for other in TABLE[room] if order.index(other) > order.index(room)]


# of a verb, its command and what it does; of each task, the same part; of public import paths that stay
VERBS = 'check_data convert doctor enhance export flops gates predict publish rank test train'
PARTS = 'bands data evaluation exported prediction sample strips transforms segmentation __init__ __main__'
SHARED = {*VERBS.split(), *PARTS.split()}


def test_different_modules_have_different_names():
    names = [path.stem for module, path in MODULES.items() if module.startswith('saga_mm')]
    assert {name for name in names if names.count(name) > 1} <= SHARED


def test_functions_have_at_most_eight_parameters():
    """Besides constructors that configs name, kernels, and what has the parameters of mmcv's operators."""
    long = []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _decorated(node, 'register')]
        named = {id(function) for node in classes for function in node.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and id(node) not in named and not _decorated(node, 'triton.jit'):
                given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                if len(given) - (given[:1] in (['self'], ['cls'])) > 8:
                    long.append(f'{module}.{node.name}')
    assert sorted(long) == [f'saga_mm.operators.extension.roi_align_{way}' for way in ('backward', 'forward')]


def _decorated(node: ast.ClassDef | ast.FunctionDef, word: str) -> bool:
    return any(word in ast.unparse(each) for each in node.decorator_list)
