"""The documentation: ``make docs`` builds it into ``build/docs``."""

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# the extensions, and the package of this checkout
sys.path[:0] = [str(ROOT / 'docs' / '_ext'), str(ROOT)]

project = 'saga_mm'
author = 'the authors of saga_mm'
project_copyright = 'the authors of saga_mm, Apache-2.0'
release = version = import_module('saga_mm').__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'config_pages',
    'file_links',
    'notebook_pages',
    'verb_pages',
]
source_suffix = {'.md': 'markdown', '.ipynb': 'notebook'}
exclude_patterns = ['_ext']

# options stay as they are typed: --help, '*.jpg'
smartquotes = False
myst_heading_anchors = 4
myst_enable_extensions = ['attrs_inline']

autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_use_ivar = True
toc_object_entries_show_parents = 'hide'
autodoc_member_order = 'groupwise'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

html_theme = 'furo'
html_title = f'saga_mm {version}'
html_static_path = ['_static']
html_css_files = ['pages.css']
