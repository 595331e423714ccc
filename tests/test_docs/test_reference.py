"""The reference names every public package and every class that a config can name."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / 'docs' / 'reference'
NAMED = set(re.findall(r'automodule:: (\S+)', ''.join(path.read_text() for path in REFERENCE.glob('*.md'))))


def public_names(package: Path) -> list[str]:
    """``__all__`` of a package; an empty list if it has none."""
    for node in ast.parse(package.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '__all__':
            return ast.literal_eval(node.value)
    return []


def packages() -> dict[str, list[str]]:
    found = {}
    for path in sorted((ROOT / 'saga_mm').rglob('__init__.py')):
        names = public_names(path)
        if names:
            found['.'.join(path.parent.relative_to(ROOT).parts)] = names
    return found


def test_every_public_package_is_in_the_reference():
    missing = sorted(set(packages()) - NAMED)
    assert not missing, f'write an automodule into docs/reference for {missing}'


def registered(path: Path) -> list[str]:
    """Classes of a module that a config can name."""
    return [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        and any('register_module' in ast.unparse(item) for item in node.decorator_list)
    ]


def test_every_class_that_a_config_names_is_in_the_reference():
    public = {name for package, names in packages().items() if package in NAMED for name in names}
    missing = []
    for path in sorted((ROOT / 'saga_mm').rglob('*.py')):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        if module not in NAMED:
            missing += [f'{module}.{name}' for name in registered(path) if name not in public]
    assert not missing, f'write an automodule into docs/reference for {missing}'
