"""Links of pages to files beside the documentation, shown as the path of the file in a checkout.

Pages link to ``../configs/coco`` or ``../saga_mm/weights/README.md`` as GitHub needs it. The site has no such pages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
LINK = re.compile(r'(?<!!)\[([^\]]+)\]\((?!https?:)([^)#\s]+)(?:#[^)\s]*)?\)')


def name_files(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace links that leave ``docs/`` by the text and the path."""
    folder = Path(app.env.doc2path(docname)).parent

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = Path(os.path.normpath(folder / target))
        if path.is_relative_to(DOCS) or not path.exists():
            return match.group()
        name = path.relative_to(ROOT).as_posix()
        return f'`{name}`' if text.strip('`') == name else f'{text} (`{name}`)'

    source[0] = LINK.sub(replace, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect('source-read', name_files)
    return {'parallel_read_safe': True}
