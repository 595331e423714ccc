import numpy as np

from saga_mm.display.overlay import NAMED, class_shares, overlay, with_legend

PALETTE = [(200, 0, 0), (0, 100, 0)]


def test_colours_are_laid_over_the_classes_and_nothing_else():
    image = np.full((2, 3, 3), 100, np.uint8)
    classes = np.array([[0, 1, 255], [1, 0, 2]], np.uint8)
    drawn = overlay(image, classes, PALETTE, alpha=0.5)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == drawn[1, 1].tolist() == [150, 50, 50]
    assert drawn[0, 1].tolist() == [50, 100, 50]
    assert drawn[0, 2].tolist() == drawn[1, 2].tolist() == [100, 100, 100]


def test_shares_count_pixels():
    assert class_shares(np.array([[0, 1, 1, 255]]), 3) == [0.25, 0.5, 0.0]


def test_the_legend_names_colours_below_the_picture():
    picture = np.zeros((40, 300, 3), np.uint8)
    drawn = np.asarray(with_legend(picture, ['road', 'sky'], PALETTE))
    assert drawn.shape[1] == 300 and (drawn[:40] == 0).all()
    strip = drawn[40:].reshape(-1, 3).tolist()
    assert all(list(colour) in strip for colour in PALETTE) and [255, 255, 255] in strip


def test_legends_of_narrow_pictures_and_of_many_classes():
    narrow = np.asarray(with_legend(np.zeros((40, 5, 3), np.uint8), ['road'] * 9, [PALETTE[0]] * 9))
    assert narrow.shape[1] > 100 and (narrow[:40, 5:] == 255).all()
    number = NAMED + 20
    many = np.asarray(
        np.asarray(
            with_legend(np.zeros((10, 200, 3), np.uint8), [str(i) for i in range(number)], [PALETTE[0]] * number)
        )
    )
    assert many.shape[0] < 400
