"""The loader of pictures, in this process and in workers that are started afresh."""

import copy
import multiprocessing
import pickle

import numpy as np
from mmcv.transforms import LoadImageFromFile
from PIL import Image
from torch.utils.data import DataLoader

from saga_mm.datasets.picture_loader import use_own_pictures
from saga_mm.images.pictures import read_picture


class Files:
    """A data set of files, each loaded by mmcv."""

    def __init__(self, paths):
        self.paths, self.load = [str(path) for path in paths], LoadImageFromFile()

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        results = self.load({'img_path': self.paths[index]})
        # where it was loaded, too
        return results['img'], multiprocessing.current_process().name


def clear_tiff(path):
    """A TIFF file with transparency, whose colours OpenCV multiplies with it."""
    pixels = np.full((12, 16, 4), (200, 100, 40, 90), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_workers_that_are_started_afresh_load_the_same_pixels(tmp_path):
    use_own_pictures()
    path = clear_tiff(tmp_path / 'a.tif')
    wanted = read_picture(path)[..., ::-1]
    assert wanted.any() and np.array_equal(Files([path])[0][0], wanted)
    loader = DataLoader(
        Files([path]), num_workers=1, batch_size=None, collate_fn=as_it_is, multiprocessing_context='spawn'
    )
    ((picture, process),) = loader
    assert process.startswith('SpawnProcess') and np.array_equal(picture, wanted)


def as_it_is(sample):
    """A collation that can be sent to another process."""
    return sample


def test_copies_of_a_loader_are_the_loader(tmp_path):
    use_own_pictures()
    load = LoadImageFromFile(to_float32=True, ignore_empty=True)
    for made in (pickle.loads(pickle.dumps(load)), copy.deepcopy(load), copy.copy(load)):
        assert type(made) is LoadImageFromFile and vars(made) == vars(load)
        assert made({'img_path': str(clear_tiff(tmp_path / 'a.tif'))})['img'].dtype == np.float32
