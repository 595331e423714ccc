def test_as_a_user_runs_it(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ('video', '--sizes', '16x24', '--repeats', '2', '--device', 'cpu', '--out', 'figures')
    out, _, status = run_here('benchmark.py', *words)
    assert status == 0 and 'weights tiny, cpu:' in out
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['video.json', 'video.md']


def test_options_that_do_not_go_with_video(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (('--repeats', '1'), '--repeats 1: frames of a video; must be at least 2'),
        (('--backward',), '--backward: does not go with video; leave it out'),
        (('--min-seconds', '1'), '--min-seconds: does not go with video; leave it out'),
        (('--no-memory',), '--no-memory: does not go with video; leave it out'),
        (('--sizes', '16,24'), '--sizes 16,24: video is measured at one size'),
    ):
        assert run_here('benchmark.py', 'video', *words) == ('', f'error: {said}\n', 2)
    assert not list(tmp_path.iterdir())
