import cv2
import numpy as np
import pytest

from pilotage.refine import RefineConfig, align, edge_field
from pilotage.track import TrackConfig

CONFIG = RefineConfig()
ALL = np.ones((128, 128), bool)


def ground(seed, side=240):
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 110, np.uint8)
    for _ in range(40):
        box = cv2.boxPoints((tuple(rng.uniform(0, side, 2)), tuple(rng.uniform(6, 40, 2)), rng.uniform(0, 180)))
        cv2.fillConvexPoly(picture, box.astype(np.int32), [int(v) for v in rng.integers(30, 220, 3)])
    return picture


def find(patch, window, *, covered=ALL):
    valid = np.ones(window.shape[:2], bool)
    return align(edge_field(patch, covered, CONFIG), covered, edge_field(window, valid, CONFIG), CONFIG)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (17, -31), (-40, 22), (50, 50)])
def test_align_recovers_a_known_shift(down, right):
    window = ground(1)
    top, left = 56 + down, 56 + right
    found = find(window[top : top + 128, left : left + 128], window)
    assert found.shift_down_px == pytest.approx(down, abs=0.1)
    assert found.shift_right_px == pytest.approx(right, abs=0.1)
    assert found.score > 0.95


def test_align_finds_half_a_pixel():
    window = ground(2)
    moved = cv2.warpAffine(window, np.array([[1, 0, -0.5], [0, 1, 0.0]]), (240, 240))
    found = find(np.ascontiguousarray(moved[56:184, 56:184]), window)
    assert found.shift_right_px == pytest.approx(0.5, abs=0.2)
    assert found.shift_down_px == pytest.approx(0.0, abs=0.2)


def test_align_does_not_mind_other_light():
    window = ground(3)
    patch = window[70:198, 40:168].astype(np.float32)
    negative = np.clip(230 - 0.7 * patch, 0, 255).astype(np.uint8)  # dark turns light, as wet fields and shadows do
    found = find(negative, window)
    assert (found.shift_down_px, found.shift_right_px) == (pytest.approx(14, abs=0.3), pytest.approx(-16, abs=0.3))


def test_align_uses_only_what_the_frame_saw():
    window = ground(4)
    patch = window[56:184, 56:184].copy()
    covered = np.zeros((128, 128), bool)
    covered[:, :80] = True
    patch[:, 80:] = ground(5)[:128, :48]  # nonsense where nothing was seen
    found = find(patch, window, covered=covered)
    assert found.shift_down_px == pytest.approx(0, abs=0.3)
    assert found.shift_right_px == pytest.approx(0, abs=0.3)


def test_align_strength_parts_right_places_from_wrong_ones(region):
    shrink = {"dsize": None, "fx": 0.64, "fy": 0.64, "interpolation": cv2.INTER_AREA}
    older, today = cv2.resize(region.world.map_rgb, **shrink), cv2.resize(region.world.scene_rgb, **shrink)
    rng = np.random.default_rng(5)
    places = rng.integers(60, older.shape[0] - 240, (24, 2))
    right, wrong = [], []
    for row, column in places:
        patch = np.ascontiguousarray(today[row : row + 128, column : column + 128])
        right.append(find(patch, older[row - 50 : row + 178, column - 50 : column + 178]).strength)
        for other_row, other_column in places:
            if max(abs(row - other_row), abs(column - other_column)) > 190:
                window = older[other_row - 50 : other_row + 178, other_column - 50 : other_column + 178]
                wrong.append(find(patch, window).strength)
    assert len(wrong) > 20
    assert max(wrong) < TrackConfig().acquire_strength
    assert np.quantile(wrong, 0.95) < CONFIG.min_strength
    assert np.median(right) > 2 * TrackConfig().acquire_strength


def test_align_says_nothing_about_blank_ground():
    blank = np.full((128, 128, 3), 90, np.uint8)
    found = find(blank, ground(6))
    assert found is None or found.strength < CONFIG.min_strength


def test_align_scores_nothing_over_a_blank_map():
    blank = np.full((240, 240, 3), 90, np.uint8)
    found = find(ground(7)[56:184, 56:184], blank)
    assert found is None or found.strength < CONFIG.min_strength
