"""Pairs of views: the same ground in both, and batches that are what they say."""

import cv2
import numpy as np
import pytest

from pilotage.contract import FILL_RGB
from pilotage.errors import ImageError
from pilotage.world.generate import WorldConfig
from pilotage_trainer.data.augment import footprint_mask, mask_out, photometric, turn_both
from pilotage_trainer.data.batches import DrawConfig, DrawnBatches, _too_close
from pilotage_trainer.data.orthophotos import OrthophotoSource
from pilotage_trainer.data.worlds import WorldSource, cached_world

EXACT = {"ground_m": 60.0, "side_px": 64, "error": 0.0, "offset": 0.0}


@pytest.fixture(scope="module")
def world_source(world_cache):
    return WorldSource(cached_world(1000, world_cache, WorldConfig(size_m=300.0)))


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / "town.png"
    cv2.imwrite(str(path), cv2.resize(coarse, (800, 800), interpolation=cv2.INTER_CUBIC))
    return OrthophotoSource(path, gsd_m=0.25)


def likeness(a, b):
    a, b = (cv2.GaussianBlur(v, (0, 0), 2).mean(axis=2).ravel() for v in (a, b))
    return np.corrcoef(a, b)[0, 1]


def test_an_exact_camera_over_an_orthophoto_sees_the_tile(picture):
    tile = picture.view_map(10.0, -20.0, ground_m=60.0, side_px=64)
    views = [picture.view_camera(10.0, -20.0, rng=np.random.default_rng(i), **EXACT) for i in range(6)]
    assert max(likeness(view, tile) for view in views) > 0.999  # some throw no shadows
    assert likeness(picture.view_map(40.0, 20.0, ground_m=60.0, side_px=64), tile) < 0.5


def test_the_map_tile_of_an_orthophoto_is_where_it_says(picture):
    tile = picture.view_map(25.0, -50.0, ground_m=50.0, side_px=200)  # its own pixels
    top, left = 400 - 100 - 100, 400 - 200 - 100
    assert np.abs(tile.astype(int) - picture.image[top : top + 200, left : left + 200]).max() <= 1


def test_the_map_tile_of_a_world_is_where_it_says(world_source):
    tile = world_source.view_map(25.0, -50.0, ground_m=50.0, side_px=100)  # its own pixels
    top, left = 300 - 50 - 50, 300 - 100 - 50
    expected = world_source.world.map_rgb[top : top + 100, left : left + 100]
    assert np.abs(tile.astype(int) - expected).max() <= 1


def test_an_exact_camera_over_a_world_sees_its_ground(world_source):
    world = world_source.world
    side = 128
    seen, elsewhere = [], []
    for north, east in ((0.0, 0.0), (60.0, -40.0), (-50.0, 70.0)):
        view = world_source.view_camera(north, east, rng=np.random.default_rng(0), **{**EXACT, "side_px": side})
        row, column = round((150 - north) / world.gsd_m), round((150 + east) / world.gsd_m)
        half = round(30 / world.gsd_m)
        scene = cv2.resize(world.scene_rgb[row - half : row + half, column - half : column + half], (side, side))
        seen.append(likeness(view, scene))
        elsewhere.append(likeness(view, np.rot90(scene, 2)))
    assert np.mean(seen) > 0.6 and np.mean(seen) > np.mean(elsewhere) + 0.3


def test_a_batch_is_hard_masked_and_repeatable(world_source, picture):
    config = DrawConfig(pairs=16, places=2, side_px=48, ground_m=(40.0, 60.0))
    epochs = [
        DrawnBatches([world_source, picture], [0.5, 0.5], config=config, count=3, seed=0, epoch=epoch)
        for epoch in (0, 0, 1)
    ]
    one, again, later = (batches[1] for batches in epochs)
    assert one.query.shape == one.aerial.shape == (16, 48, 48, 3) and len(epochs[0]) == 3
    ignore = one.ignore.numpy()
    assert ignore.shape == (16, 16) and (ignore == ignore.T).all() and not ignore.diagonal().any()
    for key in ("query", "aerial", "ignore"):
        assert (getattr(one, key) == getattr(again, key)).all()
    assert not (one.query == later.query).all() and not (one.query == epochs[0][0].query).all()


def test_only_near_pairs_of_one_source_are_left_out():
    where = np.array([[0, 5, 0, 0, 50], [0, 5, 0, 29, 50], [1, 5, 0, 31, 40], [1, 7, 0, 0, 50]], float)
    expected = np.zeros((4, 4), bool)
    expected[0, 1] = expected[1, 0] = expected[1, 2] = expected[2, 1] = True  # 29 m and 2 m, below 0.6 x 50 m
    assert np.array_equal(_too_close(where, 0.6), expected)


def test_a_footprint_covers_what_a_frame_would_and_the_rest_is_filled():
    rng = np.random.default_rng(0)
    shares = [footprint_mask(64, rng).mean() for _ in range(200)]
    assert min(shares) > 0.4 and max(shares) > 0.99 and np.mean(shares) > 0.7
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    out = mask_out(np.zeros((8, 8, 3), np.uint8), mask)
    assert (out[~mask] == FILL_RGB).all() and (out[mask] == 0).all()


def test_light_changes_but_the_place_stays():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    changed = [photometric(image, rng) for _ in range(20)]
    assert all(view.dtype == np.uint8 and view.shape == image.shape for view in changed)
    assert not any(np.array_equal(view, image) for view in changed)
    assert np.median([likeness(view, image) for view in changed]) > 0.6


def test_both_views_turn_alike():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for turns in range(4):
        for mirrored in (False, True):
            query, aerial = turn_both(image, image, turns, mirrored)
            assert np.array_equal(query, aerial) and query.flags.c_contiguous


def test_a_cached_world_is_the_made_one(world_cache):
    from pilotage.world.generate import make_world

    made = make_world(1000, WorldConfig(size_m=300.0))
    cached = cached_world(1000, world_cache, WorldConfig(size_m=300.0))
    assert np.array_equal(made.map_rgb, cached.map_rgb) and np.array_equal(made.surface_m, cached.surface_m)
    assert isinstance(cached.map_rgb, np.memmap) and cached.frame == made.frame


def test_a_picture_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"x\.jpg"):
        OrthophotoSource(tmp_path / "x.jpg", gsd_m=0.2)
