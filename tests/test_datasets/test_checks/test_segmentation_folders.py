"""Which files of a segmentation data set are images and masks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from saga_mm.errors import SagaError


def png(picture: np.ndarray) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


def test_masks_that_are_not_there(data):
    (data.masks / 'b.png').unlink()
    data.refuse(r'image without a mask in .*masks: b\.jpg \(should be b\.png\)\. Add the masks')
    (data.masks / 'b_mask.png').write_bytes((data.masks / 'a.png').read_bytes())
    data.refuse(r"For b\.jpg there is b_mask\.png: set seg_map_suffix='_mask\.png'")


def test_a_wrong_mask_folder(data, tmp_path: Path):
    data.masks = tmp_path / 'empty'
    data.refuse('mask folder .*empty does not exist')
    data.masks.mkdir()
    data.refuse(r'image without a mask .* \(3 times\).*The folder has no files')
    (data.masks / 'other.bmp').touch()
    data.refuse(r"The folder has 1 of '\.bmp'")


def test_suffixes_that_do_not_fit(data):
    (data.images / 'd.png').touch()
    data.refuse(r"no image that ends in img_suffix='\.tif'\. It has 3 of '\.jpg', 1 of '\.png'", img_suffix='.tif')
    data.warn(r"img_suffix='.jpg' leaves out: 1 of '.png'")
    (data.images / 'd.png').unlink()
    (data.masks / 'd.png').write_bytes((data.masks / 'a.png').read_bytes())
    data.warn('mask without an image')
    for path in data.images.iterdir():
        path.unlink()
    data.refuse('has no image .* It is empty')


def test_images_and_masks_in_one_folder(data):
    inner = data.masks.rename(data.images / 'masks')
    data.masks = inner
    data.put_mask('d', data.ids)
    assert [line.partition(' ')[0] for line in data.check().warnings.lines()] == ['mask']
    (inner / 'd.png').unlink()
    for path in inner.iterdir():
        path.rename(data.images / path.name)
    data.masks = data.images
    assert not data.check().warnings


def test_folders_in_folders(data):
    for folder in (data.images, data.masks):
        (folder / 'day').mkdir()
        for path in list(folder.glob('a.*')):
            path.rename(folder / 'day' / path.name)
    assert data.check().num_images == 3
    data.put_mask('day/a', np.full_like(data.ids, 9))
    data.refuse(r'classes: day/a\.jpg \(9\)')


def test_thumbnails_of_another_program_are_no_images(data):
    for folder in (data.images, data.masks):
        (folder / '@eaDir').mkdir()
        for path in list(folder.glob('a.*')):
            shutil.copy(path, folder / '@eaDir' / path.name)
    data.refuse(r'image in a folder of copies or thumbnails: @eaDir/a\.jpg\. Remove such folders')


def test_a_list_of_images(data, tmp_path: Path):
    listed = tmp_path / 'list.txt'
    listed.write_text('c\na\n')
    survey = data.check_cfg(ann_file='list.txt')
    assert survey.num_images == 2 and not survey.warnings
    listed.write_text('../images/a\n../../x\n')
    with pytest.raises(SagaError, match=r"list\.txt: '\.\./\.\./x\.jpg' leaves the image folder"):
        data.check_cfg(ann_file='list.txt')
    listed.write_text('')
    with pytest.raises(SagaError, match='is empty'):
        data.check_cfg(ann_file='list.txt')
    listed.write_text('a\nnone\n')
    with pytest.raises(SagaError, match=r'unreadable image: none\.jpg'):
        data.check_cfg(ann_file='list.txt')
    with pytest.raises(SagaError, match=r'nothing\.txt.* does not exist'):
        data.check_cfg(ann_file='nothing.txt')
