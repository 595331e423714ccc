import io
import os
from pathlib import Path

import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.inputs import Job, find_jobs


def _png() -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (4, 4)).save(file, 'PNG')
    return file.getvalue()


PNG = _png()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pictures, one of them deeper, and what is none."""
    root = tmp_path / 'photos'
    (root / 'trip' / 'day 1').mkdir(parents=True)
    for name in ('b.jpg', 'a.PNG', 'trip/day 1/a.tif', 'notes.txt', 'clip.mp4', '.hidden.jpg'):
        (root / name).touch()
    return root


def pairs(jobs: list[Job], root: Path) -> list[tuple[str, str]]:
    return [(str(job.source.relative_to(root)), str(job.target.relative_to(root))) for job in jobs]


def lines(refused: list[SagaError]) -> list[str]:
    assert all('\n' not in str(error) for error in refused)
    return [str(error) for error in refused]


def test_beside_the_source(folder):
    jobs, skipped, refused = find_jobs([folder / 'b.jpg', str(folder / 'clip.mp4')])
    assert not skipped and not refused
    assert jobs == [
        Job(folder / 'b.jpg', folder / 'b_enhanced.jpg', 'photo'),
        Job(folder / 'clip.mp4', folder / 'clip_enhanced.mp4', 'video'),
    ]


def test_folder(folder, tmp_path):
    names = ['a.PNG', 'b.jpg', 'clip.mp4', 'trip/day 1/a.tif']
    beside = [(name, name.replace('.', '_enhanced.')) for name in names]
    assert pairs(find_jobs([folder]).jobs, folder) == beside
    mirrored = find_jobs([folder], tmp_path / 'out').jobs
    assert [job.target.relative_to(tmp_path / 'out').as_posix() for job in mirrored] == names
    assert [job.kind for job in mirrored] == ['photo', 'photo', 'video', 'photo']


def test_several_folders_stay_apart(folder, tmp_path):
    other = tmp_path / 'others'
    other.mkdir()
    (other / 'b.jpg').touch()
    jobs, _, refused = find_jobs([folder / 'trip', other, folder / 'b.jpg'], tmp_path / 'out')
    assert not refused
    targets = [job.target.relative_to(tmp_path / 'out').as_posix() for job in jobs]
    assert targets == ['trip/day 1/a.tif', 'others/b.jpg', 'b.jpg']


def test_results_inside_the_folder_are_no_inputs(folder):
    (folder / 'out').mkdir()
    (folder / 'out' / 'b.jpg').touch()
    (folder / 'b_enhanced.jpg').touch()
    jobs, skipped, _ = find_jobs([folder], folder / 'out')
    assert pairs(jobs, folder) == [(name, f'out/{name}') for name in ('a.PNG', 'clip.mp4', 'trip/day 1/a.tif')]
    assert pairs(skipped, folder) == [('b.jpg', 'out/b.jpg')]


def test_one_file(folder, tmp_path):
    source = folder / 'b.jpg'
    assert find_jobs([source], tmp_path / 'x.png').jobs == [Job(source, tmp_path / 'x.png', 'photo')]
    assert find_jobs([source], f'{tmp_path}/x.png/').jobs == [Job(source, tmp_path / 'x.png' / 'b.jpg', 'photo')]
    (tmp_path / 'y.png').mkdir()
    assert find_jobs([source], tmp_path / 'y.png').jobs[0].target == tmp_path / 'y.png' / 'b.jpg'
    for inputs in ([folder], [source, folder / 'a.PNG']):
        with pytest.raises(SagaError, match='is one file'):
            find_jobs(inputs, tmp_path / 'x.png')
    with pytest.raises(SagaError, match='is a file'):
        find_jobs([source], folder / 'notes.txt')


def test_pattern(folder, monkeypatch):
    (folder / 'b_enhanced.jpg').touch()
    assert pairs(find_jobs([f'{folder}/*.jpg']).jobs + find_jobs([f'{folder}/*.jpg']).skipped, folder) == [
        ('b.jpg', 'b_enhanced.jpg')
    ]
    jobs = find_jobs([f'{folder}/**/*'], folder / 'out').jobs
    assert [(job.kind, job.target.relative_to(folder / 'out').as_posix()) for job in jobs] == [
        ('photo', 'a.PNG'),
        ('photo', 'b.jpg'),
        ('video', 'clip.mp4'),
        ('photo', 'trip/day 1/a.tif'),
    ]
    monkeypatch.chdir(folder)
    assert find_jobs(['[ab].*'], 'out').jobs[0] == Job(Path('a.PNG'), Path('out/a.PNG'), 'photo')
    assert lines(find_jobs(['*.bmp']).refused) == ['*.bmp: no picture or video fits this pattern']


def test_name_with_brackets_is_a_file_first(folder):
    (folder / 'b [1].jpg').touch()
    assert find_jobs([folder / 'b [1].jpg']).jobs[0].source == folder / 'b [1].jpg'


def test_existing_outputs(folder):
    (folder / 'b_enhanced.jpg').touch()
    jobs, skipped, _ = find_jobs([folder / 'b.jpg', folder / 'a.PNG'])
    assert [job.source.name for job in jobs] == ['a.PNG'] and [job.source.name for job in skipped] == ['b.jpg']
    jobs, skipped, _ = find_jobs([folder / 'b.jpg', folder / 'a.PNG'], overwrite=True)
    assert [job.source.name for job in jobs] == ['b.jpg', 'a.PNG'] and not skipped


def test_earlier_results(folder):
    """A shell makes ``*.jpg`` into originals and results; a result that is named alone is meant."""
    (folder / 'b_enhanced.jpg').touch()
    jobs = find_jobs([folder / 'b.jpg', folder / 'b_enhanced.jpg'], overwrite=True).jobs
    assert [job.source.name for job in jobs] == ['b.jpg']
    assert [job.target.name for job in find_jobs([folder / 'b_enhanced.jpg']).jobs] == ['b_enhanced_enhanced.jpg']


@pytest.mark.parametrize('overwrite', [False, True])
def test_output_that_is_an_input(folder, tmp_path, overwrite):
    source = folder / 'b.jpg'
    (tmp_path / 'link.jpg').symlink_to(source)
    (tmp_path / 'hard.jpg').hardlink_to(source)
    outputs = [source, folder, tmp_path / 'link.jpg', tmp_path / 'hard.jpg', folder / 'trip' / '..']
    for output in outputs:
        jobs, skipped, refused = find_jobs([source], output, overwrite)
        assert not jobs and not skipped and len(refused) == 1, output
        assert 'b.jpg: the output ' in lines(refused)[0]
    # one input's output is another input; the others are still done
    (folder / 'trip' / 'b.jpg').touch()
    jobs, _, refused = find_jobs([source, folder / 'trip' / 'b.jpg', folder / 'a.PNG'], folder / 'trip', overwrite)
    assert [job.source.name for job in jobs] == ['a.PNG'] and len(refused) == 2


def test_two_inputs_with_one_output(folder, tmp_path):
    (folder / 'trip' / 'b.jpg').touch()
    jobs, _, refused = find_jobs([folder / 'b.jpg', folder / 'trip' / 'b.jpg'], tmp_path / 'out')
    assert [job.source for job in jobs] == [folder / 'b.jpg']
    assert 'is also that of' in lines(refused)[0]
    assert len(find_jobs([folder / 'b.jpg', folder / 'b.jpg']).jobs) == 1
    assert len(find_jobs([folder / 'a.PNG', folder]).jobs) == 5


def test_output_that_is_a_folder(folder):
    (folder / 'b_enhanced.jpg').mkdir()
    jobs, _, refused = find_jobs([folder / 'b.jpg'], overwrite=True)
    assert not jobs and 'is a folder' in lines(refused)[0]


def test_links(folder, tmp_path, tmp_path_factory):
    beside, far = tmp_path / 'store', tmp_path_factory.mktemp('far') / 'a' / 'b'
    for place in (beside, far):
        place.mkdir(parents=True)
        (place / '0a1b').write_bytes(PNG)
    (folder / 'beside.jpg').symlink_to(beside / '0a1b')
    (folder / 'album').symlink_to(beside)
    (folder / 'within.jpg').symlink_to(folder / 'b.jpg')
    (folder / 'round').symlink_to(folder)
    (folder / 'broken.jpg').symlink_to(beside / 'none.jpg')
    (folder / 'itself.jpg').symlink_to(folder / 'itself.jpg')
    deep = tmp_path / 'w' / 'x' / 'y' / 'z'
    deep.mkdir(parents=True)
    (deep / 'away.jpg').symlink_to(beside / '0a1b')
    jobs, _, refused = find_jobs([folder], tmp_path / 'out')
    names = [job.target.relative_to(tmp_path / 'out').as_posix() for job in jobs]
    # named after the link, with the ending of what it is
    assert names == ['a.PNG', 'album/0a1b', 'b.jpg', 'beside.png', 'clip.mp4', 'trip/day 1/a.tif', 'within.jpg']
    broken, itself = lines(refused)
    assert broken.endswith('none.jpg, which is not there') and 'is a link to itself' in itself
    jobs, _, refused = find_jobs([deep], tmp_path / 'out')
    assert not jobs and 'away.jpg: is a link that leads out of the data, to ' in lines(refused)[0]
    # a folder that is named is meant, wherever it is
    assert [job.source.name for job in find_jobs([folder / 'album'], tmp_path / 'out').jobs] == ['0a1b']


def test_a_store_of_the_repository(tmp_path):
    store, folder = tmp_path / '.dvc' / 'cache', tmp_path / 'data' / 'night' / 'v2' / 'all' / 'photos'
    for place in (store, folder):
        place.mkdir(parents=True)
    (store / '0a1b').write_bytes(PNG)
    (folder / 'cat.png').symlink_to(store / '0a1b')
    assert [job.source.name for job in find_jobs([folder], tmp_path / 'out').jobs] == ['cat.png']


def test_content_decides(tmp_path):
    folder = tmp_path / 'phone'
    folder.mkdir()
    heads = {
        'IMG_1.HEIC': b'\xff\xd8\xff\xe0',
        'IMG_2.jpg': b'\0\0\0\x18ftypheic',
        'IMG_3.avif': b'\0\0\0\x18ftypavif',
        'IMG_4': PNG,
        'IMG_5.nef': b'MM\0*',
        'IMG_6.cr3': b'\0\0\0\x18ftypcrx ',
        'clip.jpg': b'\0\0\0\x18ftypisom',
        'notes.pdf': b'%PDF-1.7',
    }
    for name, head in heads.items():
        (folder / name).write_bytes(head.ljust(100, b'\0'))
    os.mkfifo(folder / 'pipe.jpg')
    jobs, _, refused = find_jobs([folder])
    kinds = {job.source.name: (job.kind, job.target.name) for job in jobs}
    assert kinds == {
        'IMG_1.HEIC': ('photo', 'IMG_1_enhanced.HEIC'),
        'IMG_3.avif': ('photo', 'IMG_3_enhanced.avif'),
        'IMG_4': ('photo', 'IMG_4_enhanced'),
        'clip.jpg': ('video', 'clip_enhanced.jpg'),
    }
    said = [line.rpartition('/')[2] for line in lines(refused)]
    assert [line.partition(':')[0] for line in said] == ['IMG_2.jpg', 'IMG_5.nef', 'IMG_6.cr3', 'pipe.jpg']
    assert 'HEIC' in said[0] and 'raw photograph' in said[1] and 'raw photograph' in said[2] and 'a pipe' in said[3]


def test_a_lying_ending_becomes_the_right_one(tmp_path):
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.HEIC', 'JPEG')
    Image.new('RGB', (4, 4)).save(tmp_path / 'b.jpg', 'PNG')
    Image.new('RGB', (4, 4)).save(tmp_path / 'c.jpeg', 'JPEG')
    targets = [job.target.name for job in find_jobs([tmp_path]).jobs]
    assert targets == ['a_enhanced.jpg', 'b_enhanced.png', 'c_enhanced.jpeg']


def test_bad_inputs_beside_good_ones(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / 'b_enhanced.jpg').touch()
    inputs = [tmp_path / 'none.jpg', tmp_path / 'empty', tmp_path / 'results', folder / 'b.jpg']
    jobs, _, refused = find_jobs(inputs)
    assert [job.source.name for job in jobs] == ['b.jpg']
    first, second, third = lines(refused)
    assert 'none.jpg: no such picture' in first and 'empty: has no pictures' in second and 'earlier results' in third


def test_names_that_shells_and_systems_do_not_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new('RGB', (4, 3)).save('~x.png')
    assert [job.source.name for job in find_jobs(['~x.png']).jobs] == ['~x.png']
    long = 'n' * 250 + '.png'
    Image.new('RGB', (4, 3)).save(long)
    jobs, _, refused = find_jobs([tmp_path])
    assert [job.source.name for job in jobs] == ['~x.png']
    (line,) = map(str, refused)
    assert line.startswith(str(tmp_path / long)) and line.endswith('File name too long')
    os.mkfifo('pipe.png')
    (line,) = map(str, find_jobs(['pipe.png']).refused)
    assert line == 'pipe.png: is a pipe or a device, not a file'


def test_a_file_of_a_kind_that_is_not_written_is_no_folder(folder, tmp_path):
    source = next(path for path in sorted(folder.rglob('*')) if path.is_file() and path.suffix == '.jpg')
    for name in ('a.heic', 'a.pdf', 'a.jxl', 'a.nef'):
        assert [job.target for job in find_jobs([source], tmp_path / name).jobs] == [tmp_path / name]
    # several results go into a folder of any name
    jobs = find_jobs([folder], tmp_path / 'shots.raw').jobs
    assert len(jobs) > 1 and all(tmp_path / 'shots.raw' in job.target.parents for job in jobs)
