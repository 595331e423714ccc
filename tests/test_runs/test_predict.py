from pathlib import Path

from PIL import Image

from saga_mm.runs.predict import _in_part, _left_out


def test_files_of_a_folder_that_are_not_predicted(tmp_path: Path):
    folder, out = tmp_path / 'photos', tmp_path / 'photos' / 'out'
    out.mkdir(parents=True)
    Image.new('RGB', (4, 4)).save(folder / 'a.jpg')
    (folder / 'b.jpg').write_bytes(b'\0\0\0\x18ftypheic'.ljust(64, b'\0'))
    (folder / 'c.mp4').write_bytes(b'\0\0\0\x18ftypisom'.ljust(64, b'\0'))
    (folder / 'd.jpg').symlink_to(folder / 'none.jpg')
    (out / 'e.mp4').write_bytes(b'\0\0\0\x18ftypisom'.ljust(64, b'\0'))
    heic, link, video = _left_out(folder, out)
    assert heic.startswith(f'{folder}/b.jpg: is a HEIC photograph') and link.endswith('none.jpg, which is not there')
    assert video == f'{folder}/c.mp4: is a video; pictures alone are predicted'
    assert _left_out(folder / 'a.jpg', out) == []


def test_animations_and_pages_of_which_one_is_done(tmp_path: Path):
    pages = [Image.new('RGB', (4, 4), colour) for colour in ('red', 'green', 'blue')]
    names = ['a.gif', 'a.png', 'a.webp', 'a.tif']
    for name in names:
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / 'one.png')
    (tmp_path / 'bad.png').write_bytes(b'no picture')
    found = _in_part([tmp_path / name for name in (*names, 'one.png', 'bad.png')])
    assert found == [f'{tmp_path}/{name}: the first of 3 pictures' for name in names]
