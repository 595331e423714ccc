import json

import pytest

from saga_mm.onnx.facts import LARGEST_SIDE, MOST_CLASSES, MOST_METADATA, Facts

SEGMENTOR = Facts(
    'segmentor',
    version='0.1.0',
    input='image',
    classes=('sky', 'road'),
    palette=((0, 1, 2), (255, 0, 0)),
    pad_divisor=32,
    resize={'scale': [96, 48], 'keep_ratio': True, 'interpolation': 'bicubic'},
    align_corners=True,
    threshold=0.3,
)


@pytest.mark.parametrize(
    'facts', [SEGMENTOR, Facts('enhancer', '1.0', strength=0.7, bytes_per_pixel=900), Facts('backbone', '1', 'a', 'b')]
)
def test_reads_what_it_wrote(facts):
    metadata = facts.to_metadata()
    assert all(type(key) is type(value) is str for key, value in metadata.items())
    assert Facts.from_metadata({**metadata, 'unknown': 'ignored'}) == facts
    assert metadata['saga_mm'] == facts.version and 'data' not in metadata


@pytest.mark.parametrize(
    ('key', 'value', 'said'),
    [
        ('saga_mm', None, 'not exported by saga_mm'),
        ('saga_mm', 'a\nb', 'wrong version'),
        ('kind', 'sculptor', 'unknown kind'),
        ('kind', None, 'unknown kind'),
        ('classes', '["sky", "road"', 'damaged'),
        ('classes', '[' * 100_000, 'damaged'),
        ('classes', '["sky", ""]', 'wrong classes'),
        ('classes', '["sky", "a\\u001b[31m"]', 'wrong classes'),
        ('classes', json.dumps(['a'] * (MOST_CLASSES + 1)), 'wrong classes'),
        ('classes', '{"sky": 1}', 'wrong classes'),
        ('classes', '["sky"]', 'another number of colours'),
        ('palette', '[[0, 1, 2], [256, 0, 0]]', 'wrong palette'),
        ('palette', '[[0, 1, 2], [true, 0, 0]]', 'wrong palette'),
        ('palette', '7', 'wrong palette'),
        ('pad_divisor', '0', 'wrong pad_divisor'),
        ('pad_divisor', '1e3', 'wrong pad_divisor'),
        ('pad_divisor', '100000', 'wrong pad_divisor'),
        ('resize', '{}', 'wrong resize'),
        ('resize', '[1, 2]', 'wrong resize'),
        ('resize', json.dumps({'scale': [LARGEST_SIDE + 1, 9]}), 'wrong resize'),
        ('resize', '{"scale": [0, 9]}', 'wrong resize'),
        ('resize', '{"scale": "huge"}', 'wrong resize'),
        ('resize', '{"short_side": 0}', 'wrong resize'),
        ('resize', '{"center_crop": [9]}', 'wrong resize'),
        ('resize', '{"interpolation": "area"}', 'wrong resize'),
        ('resize', '{"scale_factor": [1, NaN]}', 'wrong resize'),
        ('resize', '{"scale": [9, 9], "interpolation": "magic"}', 'wrong resize'),
        ('resize', '{"scale": [9, 9], "interpolation": []}', 'wrong resize'),
        ('resize', '{"scale": [9, 9], "keep_ratio": 1}', 'wrong resize'),
        ('resize', '{"scale": [9, 9], "command": "x"}', 'wrong resize'),
        ('strength', '-1', 'wrong strength'),
        ('strength', 'Infinity', 'wrong strength'),
        ('align_corners', '1', 'wrong align_corners'),
        ('threshold', '"high"', 'wrong threshold'),
        ('bytes_per_pixel', '1.5', 'wrong bytes_per_pixel'),
        ('data', 'x' * (MOST_METADATA + 1), 'too long'),
    ],
)
def test_refuses_other_metadata(key, value, said):
    metadata = SEGMENTOR.to_metadata()
    metadata.pop(key, None)
    if value is not None:
        metadata[key] = value
    with pytest.raises(ValueError, match=said):
        Facts.from_metadata(metadata)
