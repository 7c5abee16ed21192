"""From a picture to the network's input: polar strips, headings, fields of view, and what augmentation keeps."""

import math

import cv2
import numpy as np
import pytest

from pilotage.errors import ModelError
from pilotage_trainer.data.augment import erased, photometric, turn_pair
from pilotage_trainer.data.views import View, polar, prepare, resized, turned, unpolar

RNG = np.random.default_rng(0)


def smooth(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def slow_polar(square, height, width):
    """SAFA's transform, pixel by pixel."""
    size = len(square)
    out = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            radius, angle = size / 2 * (height - 1 - i) / height, 2 * math.pi * j / width
            row, column = size / 2 + radius * math.cos(angle), size / 2 - radius * math.sin(angle)
            r, c = math.floor(row), math.floor(column)
            for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
                share = (1 - abs(row - r - dr)) * (1 - abs(column - c - dc))
                if 0 <= r + dr < size and 0 <= c + dc < size:
                    out[i, j] += share * square[r + dr, c + dc]
    return out


def test_the_polar_strip_is_safas():
    square = smooth(40, 40)
    assert np.abs(polar(square, 12, 48) - slow_polar(square, 12, 48)).max() <= 3  # OpenCV looks up in 32nds of a pixel


@pytest.mark.parametrize(("row", "column", "at"), [(90, 50, 0), (50, 10, 16), (10, 50, 32), (50, 90, 48)])
def test_south_is_at_the_edge_then_west_north_east(row, column, at):
    square = np.zeros((100, 100, 3), np.uint8)
    cv2.circle(square, (column, row), 6, (255, 255, 255), -1)
    strip = polar(square, 32, 64)[..., 0].astype(float)
    seen = np.angle(np.exp(2j * np.pi * np.arange(64) / 64) @ strip.sum(axis=0)) / (2 * np.pi) * 64 % 64
    assert abs((seen - at + 32) % 64 - 32) < 1.0
    assert strip.sum(axis=1).argmax() < 10  # far out is up


def test_a_strip_rolled_back_is_the_square():
    square = smooth(128, 128)
    back = unpolar(polar(square, 128, 512), 128).astype(float)
    rows, columns = np.mgrid[0:128, 0:128]
    inside = np.hypot(rows - 64, columns - 64) < 60
    assert (
        np.abs(back - square)[inside].mean() < 2
        and (back[~inside & (np.hypot(rows - 64, columns - 64) > 66)] == 0).all()
    )


def test_polar_tiles_turn_with_panoramas():
    """A square turned counter-clockwise is a strip rolled as its panorama is."""
    square, panorama = smooth(256, 256), smooth(16, 64, seed=1)
    for turns in range(1, 4):
        query, aerial = turn_pair(panorama, square, turns, ground=True)
        expected = np.roll(polar(square, 16, 64), -16 * turns, axis=1).astype(int)
        strip = polar(aerial, 16, 64).astype(int)
        assert np.abs(strip - expected).mean() < 3  # the middle lies between pixels
        assert np.abs(strip - np.roll(expected, 32, axis=1)).mean() > 20
        assert np.array_equal(query, np.roll(panorama, -16 * turns, axis=1))
        both = turn_pair(square, square, turns, ground=False)
        assert np.array_equal(both[0], both[1])


def test_a_heading_brings_its_columns_to_the_middle():
    panorama = np.broadcast_to(np.arange(72, dtype=np.uint8)[None, :, None], (4, 72, 3))
    assert np.array_equal(turned(panorama, 0.0), panorama)
    assert turned(panorama, 90.0)[0, 36, 0] == 54  # a quarter of the circle to the right
    assert turned(panorama, -90.0)[0, 36, 0] == 18
    assert turned(panorama, 0.0, 90.0)[0, :, 0].tolist() == list(range(27, 45))
    assert turned(panorama, 180.0, 90.0)[0, :, 0].tolist() == [*range(63, 72), *range(9)]


def test_an_unknown_heading_is_drawn_within_its_bounds_and_a_known_one_draws_nothing():
    panorama = np.broadcast_to(np.arange(180, dtype=np.uint8)[None, :, None], (8, 180, 3)).copy()
    rng = np.random.default_rng(1)
    middles = [int(prepare(panorama, View(8, 180, turn_deg=30.0), rng)[0, 90, 0]) for _ in range(200)]
    assert 75 <= min(middles) < 80 and 100 < max(middles) <= 105
    before = rng.bit_generator.state
    prepare(panorama, View(8, 90), rng)
    assert rng.bit_generator.state == before


def test_the_middle_half_is_the_middle_half():
    sphere = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 128, 3))
    assert prepare(sphere, View(32, 128, middle_half=True), RNG)[:, 0, 0].tolist() == list(range(16, 48))


def test_shrinking_averages():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    assert np.ptp(resized(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8), 16, 16)) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"height_px": 4}, "both must be 8 or more"),
        ({"turn_deg": 200.0}, "turn_deg is 200"),
        ({"fov_deg": 0.0}, "fov_deg is 0"),
        ({"polar": True, "fov_deg": 90.0}, "polar is for aerial squares"),
    ],
)
def test_views_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ModelError, match=says):
        View(**{"height_px": 32, "width_px": 32, **options})


def test_polar_takes_squares_only():
    with pytest.raises(ModelError, match="takes a square, got 20x10 px"):
        polar(np.zeros((10, 20, 3), np.uint8), 8, 32)


@pytest.mark.parametrize("size", [(32, 128), (64, 64), (128, 32)])
@pytest.mark.parametrize("spoil", [photometric, erased])
def test_pictures_of_any_shape_are_spoilt_alike_by_the_same_draw(size, spoil):
    image = smooth(*size)
    for seed in range(20):
        one, two = (spoil(image, np.random.default_rng(seed)) for _ in range(2))
        assert one.shape == image.shape and one.dtype == np.uint8 and np.array_equal(one, two)


def test_erasing_leaves_most_of_a_picture():
    shares = [(erased(np.full((64, 256, 3), 200, np.uint8), np.random.default_rng(s)) == 0).mean() for s in range(60)]
    assert min(shares) > 0.02 and max(shares) < 0.6
