"""Model of a camera: colour matrix, Bayer mosaic, noise, demosaicing and processing in the camera."""

from typing import NamedTuple

import cv2
import numpy as np

# from XYZ to the colours of four cameras, those of Brooks et al. (CVPR 2019): the numbers are the makers', from the
# headers of their raw files (Nexus 6P, Sony A7R, Olympus E-M10, Sony RX100 IV)
CAMERAS = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
# of IEC 61966-2-1
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# what red and blue of a sensor are multiplied by in daylight, as in Brooks et al.
RED_GAIN, BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)
# where green, red and blue lie in OpenCV's BayerRG, rows and columns from 0
RED, BLUE = (0, 0), (1, 1)
WHITE = 2**16 - 1


class Sensor(NamedTuple):
    """What one picture was taken with.

    Attributes:
        electrons: Counted by a pixel at white, fewer the higher the sensitivity.
        read_noise: Standard deviation in electrons.
        row_noise: Standard deviation, in electrons, of what is added to all of a row.
        black_level: Errors of the black level in electrons, of blue, green and red.
        to_camera: ``(3, 3)``, from linear BGR to the sensor's BGR.
        gains: What blue, green and red of the sensor are multiplied by, so that white is white.
        mosaic: Whether each pixel has one colour, and the two others are interpolated; else noise is independent
            between pixels and colours, as in a picture that was scaled down.
    """

    electrons: float
    read_noise: float
    row_noise: float
    black_level: np.ndarray
    to_camera: np.ndarray
    gains: np.ndarray
    mosaic: bool


def draw_camera(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``to_camera`` and ``gains`` of a :class:`Sensor`: a mixture of cameras, so that there are more than four.

    Matrices, their random mixture and the range of the gains are those of Brooks et al., *Unprocessing Images for
    Learned Raw Denoising* (CVPR 2019).
    """
    weights = rng.random(len(CAMERAS))
    matrix = np.tensordot(weights / weights.sum(), CAMERAS, 1) @ SRGB_TO_XYZ
    matrix /= matrix.sum(1, keepdims=True)
    gains = np.array([rng.uniform(*BLUE_GAIN), 1.0, rng.uniform(*RED_GAIN)])
    return matrix[::-1, ::-1], gains


def capture(light: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of light, before its tone curve: linear ``(H, W, 3)`` float32 BGR in [0, 1].

    Photons are counted and read out, ``y = (Poisson(electrons x) + Normal(0, read_noise)) / electrons``, which is the
    noise of Foi et al., *Practical Poissonian-Gaussian noise modeling and fitting* (IEEE TIP 2008). Noise of rows and
    an error of the black level come on top, and values are cut at black and white, as in Wei et al., *A Physics-Based
    Noise Formation Model for Extreme Low-Light Raw Denoising* (CVPR 2020).

    Args:
        light: Linear ``(H, W, 3)`` float32 BGR; 1 is white.
        sensor: What it is taken with.
        rng: What to draw from.
    """
    height, width = light.shape[:2]
    gains = sensor.gains.astype(np.float32)
    seen = (cv2.transform(light, sensor.to_camera.astype(np.float32)) / gains).clip(0, 1)
    black = np.broadcast_to(sensor.black_level.astype(np.float32), seen.shape)
    mosaic = sensor.mosaic and min(height, width) > 1
    if mosaic:
        seen, black = to_mosaic(seen), to_mosaic(black)
    counted = rng.poisson(sensor.electrons * seen).astype(np.float32) + black
    counted += np.float32(sensor.read_noise) * rng.standard_normal(seen.shape, np.float32)
    if sensor.row_noise:
        rows = rng.standard_normal((height, *[1] * (seen.ndim - 1)), np.float32)
        counted += np.float32(sensor.row_noise) * rows
    raw = (counted / np.float32(sensor.electrons)).clip(0, 1)
    if mosaic:
        raw = from_mosaic(raw)
    # cut at white in all colours alike, or lamps would be pink
    balanced = np.minimum(raw * gains, 1)
    return cv2.transform(balanced, np.linalg.inv(sensor.to_camera).astype(np.float32)).clip(0, 1)


def to_mosaic(image: np.ndarray) -> np.ndarray:
    """``(H, W)`` of ``(H, W, 3)`` BGR: of each pixel the colour that a Bayer filter of RGGB lets through."""
    mosaic = image[..., 1].copy()
    mosaic[RED[0] :: 2, RED[1] :: 2] = image[RED[0] :: 2, RED[1] :: 2, 2]
    mosaic[BLUE[0] :: 2, BLUE[1] :: 2] = image[BLUE[0] :: 2, BLUE[1] :: 2, 0]
    return mosaic


def from_mosaic(raw: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` float32 BGR of a mosaic in [0, 1]: what is missing is interpolated along edges, by OpenCV."""
    # two more rows and columns on each side, mirrored so that colours stay in their places: OpenCV repeats its border
    wide = cv2.copyMakeBorder((raw * WHITE + 0.5).astype(np.uint16), 2, 2, 2, 2, cv2.BORDER_REFLECT_101)
    # OpenCV names a pattern by its second row and column
    colours = cv2.cvtColor(wide, cv2.COLOR_BayerBG2BGR_EA)
    return colours[2:-2, 2:-2].astype(np.float32) / np.float32(WHITE)


def smear(image: np.ndarray, colour: float, luma: float) -> np.ndarray:
    """Denoise a picture as cameras do: noise in colour becomes blotches, noise in luma loses its small steps.

    Colour is smoothed more widely than luma, and luma within edges, as in Hasinoff et al., *Burst photography for high
    dynamic range and low-light imaging on mobile cameras* (SIGGRAPH Asia 2016), section 6; the filter is the bilateral
    one of Tomasi and Manduchi (ICCV 1998).

    Args:
        image: ``(H, W, 3)`` float32 BGR in [0, 1].
        colour: Standard deviation of the smoothing of colour, in pixels; 0 for none.
        luma: The share of the smoothed luma, 0 to 1.
    """
    if not colour and not luma:
        return image
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
    if colour:
        planes[..., 1:] = cv2.GaussianBlur(planes[..., 1:], (0, 0), colour)
    if luma:
        plane = np.ascontiguousarray(planes[..., 0])
        planes[..., 0] += np.float32(luma) * (cv2.bilateralFilter(plane, 5, 0.06, 1.5) - plane)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR).clip(0, 1)
