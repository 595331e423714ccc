"""The directive ``configs``: a table of the configs of one folder, read from their files."""

from __future__ import annotations

import ast
from pathlib import Path

from docutils import nodes
from mmengine.config import Config
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def described(path: Path) -> list[str]:
    """A config as a row: its name, what is built, the length of the training, and what its file says of itself."""
    cfg = Config.fromfile(path)
    model = cfg.model
    parts = [model.type, *(model[part].type for part in ('backbone', 'neck') if model.get(part))]
    attention = model.backbone.get('attention') or 'softmax'
    loop = cfg.get('train_cfg') or {}
    length = next(
        (
            f'{loop[key]:,} {unit}'
            for key, unit in (('max_epochs', 'epochs'), ('max_iters', 'iterations'))
            if key in loop
        ),
        'to evaluate with',
    )
    words = ast.get_docstring(ast.parse(path.read_text())) or ''
    built = ' + '.join(part.removeprefix('saga_mm.') for part in parts)
    return [str(path.relative_to(CONFIGS)), built, str(attention), length, ' '.join(words.split())]


class ConfigsDirective(SphinxDirective):
    """``{configs} coco``: the folder ``configs/coco``; without a name, the configs beside the folders."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = CONFIGS / (self.arguments[0] if self.arguments else '')
        paths = sorted(folder.glob('*.py'))
        if not paths:
            raise self.error(f'{folder} holds no config')
        for path in paths:
            self.env.note_dependency(str(path))
        rows = [described(path) for path in paths]
        head = ['config', 'model', 'attention', 'training', 'in its own words']
        if not any(row[-1] for row in rows):
            head, rows = head[:-1], [row[:-1] for row in rows]
        return [table(head, rows)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('configs', ConfigsDirective)
    return {'parallel_read_safe': True}
