import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

shellcode = pytest.importorskip('argcomplete').shellcode

LIGHT = """
import os, sys
from saga_mm.cli.main import main
end = os._exit
os._exit = lambda status: end(3 if {'torch', 'numpy', 'mmengine'} & set(sys.modules) else status)
main([])
"""


def complete(tmp_path: Path, line: str) -> list[str]:
    """What a shell offers after ``line``."""
    found = tmp_path / 'found'
    asked = {'_ARGCOMPLETE': '1', '_ARGCOMPLETE_IFS': '\n', '_ARGCOMPLETE_STDOUT_FILENAME': str(found)}
    asked |= {'COMP_LINE': line, 'COMP_POINT': str(len(line)), 'COMP_TYPE': '9'}
    subprocess.run([sys.executable, '-c', LIGHT], env=os.environ | asked, cwd=tmp_path, check=True, timeout=60)
    return found.read_text().split()


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('saga-mm ex', ['export']),
        ('saga-mm enhance --ov', ['--overwrite']),
        ('saga-mm enhance --engine o', ['openvino']),
        ('saga-mm train saga_maskrcnn_', ['saga_maskrcnn_320.py', 'saga_maskrcnn_saga-fpn.py']),
        ('saga-mm train saga_maskrcnn.py --we', ['--weights']),
    ],
)
def test_a_shell_completes_verbs_options_values_and_configs(tmp_path, line, words):
    assert complete(tmp_path, line) == words


def test_files_complete_too(tmp_path):
    (tmp_path / 'my_config.py').touch()
    assert complete(tmp_path, 'saga-mm train my_') == ['my_config.py']


def typed(folder: Path, keys: str, until: str, seconds: float = 30) -> str:
    """What a terminal shows after ``keys`` are typed into bash, to which saga-mm's completion was added."""
    pty = pytest.importorskip('pty')
    program = folder / 'saga-mm'
    program.write_text(f'#!{sys.executable}\nfrom saga_mm.cli.main import main\nmain()\n')
    program.chmod(0o755)
    (folder / 'rc').write_text(f"PS1='$ '\nbind 'set enable-bracketed-paste off'\n{shellcode(['saga-mm'])}\n")
    root = Path(__file__).parents[2]
    places = os.environ | {'PATH': f'{folder}:{os.environ["PATH"]}', 'PYTHONPATH': str(root), 'TERM': 'dumb'}
    master, slave = pty.openpty()
    bash = ['bash', '--noprofile', '--rcfile', str(folder / 'rc'), '-i']
    shell = subprocess.Popen(
        bash, stdin=slave, stdout=slave, stderr=slave, env=places, cwd=folder, start_new_session=True
    )
    os.close(slave)
    os.write(master, keys.encode())
    shown, end = '', time.monotonic() + seconds
    try:
        while until not in shown and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 4096).decode(errors='replace')
    finally:
        shell.kill()
        shell.wait()
        os.close(master)
    return shown


@pytest.mark.skipif(shutil.which('bash') is None, reason='bash is not installed')
@pytest.mark.parametrize(
    ('keys', 'shown'),
    [
        ('saga-mm ben\t', 'saga-mm benchmark '),
        ('saga-mm train saga_lowlight_\t', 'saga-mm train saga_lowlight_pvt.py '),
    ],
)
def test_bash_completes_at_the_tab_key(tmp_path, keys, shown):
    assert shown in typed(tmp_path, keys, shown)
