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
    found = []
    for module, path in MODULES.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        long = [node for node in nodes if isinstance(node, ast.FunctionDef) and _count_parameters(node.args) > 8]
        classes = [node for node in nodes if long and isinstance(node, ast.ClassDef) and _decorated(node, 'register')]
        constructors = {function for node in classes for function in node.body}
        found += [
            f'{module}.{node.name}' for node in long if not (node in constructors or _decorated(node, 'triton.jit'))
        ]
    assert sorted(found) == [f'saga_mm.operators.extension.roi_align_{way}' for way in ('backward', 'forward')]


def _count_parameters(args: ast.arguments) -> int:
    names = [each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return len(names) - (names[:1] in (['self'], ['cls']))


def _decorated(node: ast.ClassDef | ast.FunctionDef, word: str) -> bool:
    return any(word in ast.unparse(each) for each in node.decorator_list)
