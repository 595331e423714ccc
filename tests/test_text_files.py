from pathlib import Path

import pytest

from saga_mm.errors import SagaError
from saga_mm.text_files import read_json, read_text, require_utf8

TEXT = 'Gebäude\n天空\n'


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32', 'utf-16-le', 'utf-16-be'])
def test_unicode_is_read_with_and_without_a_mark(tmp_path: Path, encoding: str):
    path = tmp_path / 'a.txt'
    path.write_text('house\n' * 6 + TEXT, encoding=encoding)
    assert read_text(path) == 'house\n' * 6 + TEXT


def test_other_encodings_are_named_with_the_cure(tmp_path: Path):
    path = tmp_path / 'a.txt'
    path.write_bytes('sky\nGebäude\n'.encode('latin-1'))
    with pytest.raises(SagaError, match=r"a\.txt: line 2 is not in UTF-8.*reads 'Gebäude'.*iconv -f WINDOWS-1252"):
        read_text(path)
    path.write_bytes(b'\x89XYZ\0\0\xff\0')
    with pytest.raises(SagaError, match='is no text'):
        read_text(path)
    with pytest.raises(SagaError, match='cannot be read'):
        read_text(tmp_path / 'none.txt')


def test_what_a_library_reads_must_be_plain(tmp_path: Path):
    path = tmp_path / 'a.txt'
    path.write_text(TEXT, encoding='utf-8')
    require_utf8(path)
    for encoding in ('utf-8-sig', 'utf-16'):
        path.write_text(TEXT, encoding=encoding)
        with pytest.raises(SagaError, match=r'a\.txt: begins with a byte order mark .*without such a mark'):
            require_utf8(path)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('1' * 5000, 'thousands of digits'),
        ('[' * 101 + ']' * 101, 'nested more than 100 times'),
        ('[' * 900 + ']' * 900, 'nested more than 100 times'),
        ('[' * 100_000, 'malformed JSON'),
        ('{"a": [1,\n2', 'line 2, column 2: malformed JSON'),
    ],
)
def test_json_that_is_refused_in_one_line(tmp_path: Path, text: str, words: str):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(SagaError, match=words) as caught:
        read_json(tmp_path / 'a.json')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 300


def test_json_as_it_is(tmp_path: Path):
    (tmp_path / 'a.json').write_text('[' * 100 + ']' * 100)
    assert read_json(tmp_path / 'a.json')
    (tmp_path / 'a.json').write_text('"text"')
    assert read_json(tmp_path / 'a.json') == 'text'


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is empty'),
        (b' \n', 'is empty'),
        (b'<annotation/>', 'is XML'),
        (b'{"a": 1}\n{"a": 2}\n', 'holds several values of JSON, the second in line 2'),
        (b'0 0.5 0.5 0.1 0.1\n', "is no JSON: it begins with '0 0.5 0.5 0.1 0.1'"),
        (b'file,x,y\n', "is no JSON: it begins with 'file,x,y'"),
        (b'\x1f\x8b\x08\0', 'is compressed by gzip'),
        (b'PK\x03\x04\0', 'is a zip archive'),
        (b'{"a": ', 'malformed JSON'),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    with pytest.raises(SagaError) as caught:
        read_json(path)
    assert words in str(caught.value) and '\n' not in str(caught.value)
