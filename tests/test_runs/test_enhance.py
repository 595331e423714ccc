"""Enhancement as the command line asks, in one of several processes."""

import numpy as np
from PIL import Image

from saga_mm.parallel import Process
from saga_mm.runs import enhance as run
from saga_mm.runs.enhance import EnhanceOptions, enhance


class AllWork:
    """Of several processes, the one that does all."""

    def __init__(self, folder, key):
        pass

    def run(self, names, do, process, show):
        return {name: do(name) for name in names}

    def finish(self, process):
        pass


def test_one_of_several_processes_says_what_ran_where(tmp_path, monkeypatch, capsys):
    (tmp_path / 'dark').mkdir()
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / 'dark' / 'a.png')
    monkeypatch.setattr(run, 'SharedWork', AllWork)
    monkeypatch.setattr(run, 'this_process', lambda: Process(0, 2))
    options = EnhanceOptions(
        [str(tmp_path / 'dark')], str(tmp_path / 'out'), weights='tiny', device='cpu', engine='torch', explain=True
    )
    assert enhance(options) == 0
    found = capsys.readouterr().out
    assert 'done     ' in found and 'torch' in found.lower().split('done', 1)[1]
