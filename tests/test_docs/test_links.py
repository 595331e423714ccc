"""Links, anchors and pictures of the Markdown pages, without the network; and that the site shows every page."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted([*ROOT.glob('*.md'), *DOCS.rglob('*.md'), ROOT / 'saga_mm' / 'weights' / 'README.md'])
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r'^(`{3,}).*?^\1|`[^`\n]+`', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'^(`{3,}).*?^\1', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')
        for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    }


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """Links of a page that lead nowhere, or out of the repository."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r'(https?|mailto):', link):
            continue
        path, _, anchor = link.partition('#')
        target = Path(os.path.normpath(page.parent / path)) if path else page
        leads = target.exists() and target.is_relative_to(root)
        if not leads or (anchor and (target.suffix != '.md' or anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path):
    assert broken(page) == []


def test_broken_links_and_anchors_are_found(tmp_path: Path):
    (tmp_path / 'other.md').write_text('## A `few` words, here\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '# One\n[a](gone.md) [b](#one) [c](#two) [d](https://example.org) [e](other.md#a-few-words-here) '
        '[f](other.md#else) [g](../) `[h](code.md)`\n```\n[i](code.md)\n```\n'
    )
    assert broken(page, tmp_path) == ['gone.md', '#two', 'other.md#else', '../']


def test_every_page_is_on_the_site():
    listed = set()
    for tree in re.findall(r'^```\{toctree\}\n(.*?)^```', (DOCS / 'index.md').read_text(), re.MULTILINE | re.DOTALL):
        listed |= {line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(':')}
    pages = {str(path.relative_to(DOCS).with_suffix('')) for path in [*DOCS.rglob('*.md'), *DOCS.rglob('*.ipynb')]}
    wrong = sorted(listed ^ (pages - {'index'}))
    assert not wrong, f'put into a toctree of docs/index.md, or take out: {wrong}'


def test_every_picture_is_shown_and_said_in_words():
    shown = {}
    for page in PAGES:
        for words, path in re.findall(r'!\[([^\]]*)\]\(([^)\s]+)\)', page.read_text()):
            shown[Path(os.path.normpath(page.parent / path))] = words
    assert set(shown) == set((DOCS / 'images').iterdir())
    assert all(len(words) > 10 for words in shown.values())
