"""Any map as a split: tiles that are where they say, views that see what they should, no ground in both parts."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError, ModelError
from pilotage.geo import LocalFrame
from pilotage_trainer.data import map_views
from pilotage_trainer.data.map_split import map_split
from pilotage_trainer.data.map_views import ViewErrors
from pilotage_trainer.data.orthophotos import camera_errors

FRAME = LocalFrame(47.4, 8.55)
NOTHING_WRONG = ViewErrors(camera=0, offset=0, light=0, shadows=0, uncovered=0)
SIZES = {"ground_m": 20.0, "side_px": 20}


def write_map(path, rgb, *, alpha=None, north_m=128.0, west_m=-128.0, gsd_m=1.0):
    """Write a picture with its corners; row 0 lies at `north_m` of FRAME."""
    bgr = rgb[..., ::-1]
    cv2.imwrite(str(path), bgr if alpha is None else np.dstack([bgr, alpha]))
    north, west = FRAME.to_wgs84(north_m, west_m)
    south, east = FRAME.to_wgs84(north_m - gsd_m * rgb.shape[0], west_m + gsd_m * rgb.shape[1])
    corners = {"north": north, "west": west, "south": south, "east": east}
    path.with_suffix(".corners.json").write_text(json.dumps(corners))
    return path


def coded():
    """Red is the column, green the row, blue 200, so that a pixel says where it lies."""
    column, row = np.meshgrid(np.arange(256), np.arange(256))
    return np.stack([column, row, np.full_like(row, 200)], axis=-1).astype(np.uint8)


@pytest.fixture
def coded_map(tmp_path):
    return write_map(tmp_path / "coded.png", coded())


def local_m(split):
    """Return (N, 2) north and east of the places."""
    x, y, z = split.aerial_xyz_m.T
    lat_lon = np.degrees(np.column_stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)]))
    return FRAME.to_local_array(lat_lon)


def both(paths, **options):
    return [map_split(paths, **{**SIZES, "seed": 3, "part": part, **options})[0] for part in ("train", "val")]


def read_all(images, seed=0):
    return np.stack([images.read(i, np.random.default_rng([seed, i])) for i in range(len(images))])


def test_the_centre_pixel_of_a_tile_is_the_place(coded_map):
    split, _ = map_split([coded_map], ground_m=21.0, side_px=21, part="train", seed=0)
    centre = read_all(split.aerial)[:, 10, 10].astype(float)
    north_m, east_m = local_m(split).T
    assert np.abs(centre[:, 0] - (east_m + 127.5)).max() < 0.6  # rounded to a grey level
    assert np.abs(centre[:, 1] - (127.5 - north_m)).max() < 0.6


@pytest.mark.parametrize("side_px", [20, 8, 45])
def test_a_view_without_errors_is_the_tile(coded_map, side_px):
    split, _ = map_split([coded_map], ground_m=20.0, side_px=side_px, part="val", seed=0, errors=NOTHING_WRONG)
    assert np.array_equal(read_all(split.query), read_all(split.aerial))


def test_camera_errors_move_every_pixel_where_a_slow_projection_puts_it(coded_map):
    errors = ViewErrors(camera=1, offset=0.1, light=0, shadows=0, uncovered=0)
    split, _ = map_split([coded_map], **SIZES, part="train", seed=0, errors=errors)
    index = int(np.argmin(np.linalg.norm(local_m(split), axis=1)))  # nothing near it lies outside the map
    view = split.query.read(index, np.random.default_rng(5)).astype(float)
    rng = np.random.default_rng(5)
    distort = camera_errors(rng, 1.0)
    moved = 0.1 * 20 * rng.uniform(-1, 1, 2)
    north_m, east_m = local_m(split)[index] + moved
    for row, column in ((0, 0), (3, 17), (10, 10), (19, 19), (19, 0)):
        x, y, w = distort @ [(column - 9.5) / 10, (row - 9.5) / 10, 1]
        expected = (east_m + 10 * x / w + 127.5, 127.5 - north_m + 10 * y / w, 200)
        assert np.abs(view[row, column] - expected).max() < 1


def test_no_view_reaches_further_than_half_a_tile_past_the_edge(coded_map):
    errors = ViewErrors(camera=4, offset=0.25, light=0, shadows=0, uncovered=0)
    split, _ = map_split([coded_map], **SIZES, part="train", seed=0, errors=errors)
    views = read_all(split.query).astype(float)
    seen = np.abs(views[..., 2] - 200) < 1  # neither filled nor blended with the fill
    north_m, east_m = (axis[:, None, None] for axis in local_m(split).T)
    past = np.maximum(np.abs(views[..., 0] - east_m - 127.5), np.abs(127.5 - north_m - views[..., 1]))[seen]
    assert 11 < past.max() <= 20.5
    assert 0.7 < seen.mean() < 1


def test_views_change_from_one_reading_to_the_next_and_repeat_with_the_rng(coded_map):
    split, _ = map_split([coded_map], **SIZES, part="train", seed=0)
    assert np.array_equal(read_all(split.query, seed=1), read_all(split.query, seed=1))
    assert not np.array_equal(read_all(split.query, seed=1), read_all(split.query, seed=2))
    assert np.array_equal(read_all(split.aerial, seed=1), read_all(split.aerial, seed=2))
    filled = np.all(read_all(split.query) == FILL_RGB, axis=-1).mean(axis=(1, 2))
    assert 0.3 < np.mean(filled > 0.02) < 0.98  # part of many is not covered


def apart_m(train, val, size_m):
    """Return the smallest north-south or east-west gap between any tile of one and any of the other."""
    gap = np.abs(local_m(train)[:, None] - local_m(val)[None]).max(axis=2) - size_m
    return gap.min()


@pytest.mark.parametrize("seed", range(6))
def test_no_ground_is_in_both_parts(coded_map, seed):
    train, val = both([coded_map], seed=seed)
    assert apart_m(train, val, 20.0) >= 20.0 - 1e-3  # a tile of margin
    assert len(train.query) > 2 * len(val.query) > 0
    assert not set(train.query_id) & set(val.query_id)
    assert train.apart_m == val.apart_m == pytest.approx(12.0)


def test_tiles_of_several_sizes_are_drawn_and_keep_apart(coded_map):
    train, val = both([coded_map], ground_m=(10.0, 20.0))
    assert apart_m(train, val, 20.0) >= 10.0 - 1e-3  # 20 from edge to edge of tiles that are 10 or more
    sizes = [float(train.aerial.name(i).rsplit(":", 1)[1][:-1]) for i in range(len(train.aerial))]
    assert min(sizes) < 12 and max(sizes) > 18


def test_maps_of_two_years_share_places_and_blocks(coded_map, tmp_path):
    later = write_map(tmp_path / "later.png", 255 - coded())
    alone, _ = map_split([coded_map], **SIZES, part="train", seed=3)
    train, val = both([coded_map, later], errors=NOTHING_WRONG)
    assert len(train.query) == 2 * len(alone.query)
    assert np.array_equal(np.bincount(train.aerial_id)[alone.aerial_id], np.full(len(alone.aerial), 2))
    assert apart_m(train, val, 20.0) >= 20.0 - 1e-3
    one, other = np.flatnonzero(train.query_id == train.query_id[0])
    assert np.array_equal(train.query.read(one, np.random.default_rng()), train.aerial.read(one, None))
    total = train.aerial.read(one, None).astype(int) + train.aerial.read(other, None)
    assert np.abs(total - 255).max() <= 2


def test_maps_far_from_each_other_are_whole_blocks(tmp_path):
    maps = [write_map(tmp_path / f"{i}.png", coded()[:80, :80], west_m=1000.0 * i) for i in range(5)]
    train, val = both(maps)
    assert (len(train.query), len(val.query)) == (4 * 49, 49)
    assert len({*train.query_id, *val.query_id}) == 5 * 49
    train_maps, val_maps = (
        {split.query.name(i).split("@")[0] for i in range(len(split.query))} for split in (train, val)
    )
    assert not train_maps & val_maps


def test_places_without_data_are_left_out_and_counted(tmp_path):
    alpha = np.full((256, 256), 255, np.uint8)
    alpha[:, :100] = 0
    rgb = coded()
    rgb[150:, 150:] = 0
    path = write_map(tmp_path / "holes.png", rgb, alpha=alpha)
    whole, _ = map_split([path.parent / "holes.png"], **SIZES, part="train", seed=0)
    left_out = map_split([path], **SIZES, part="val", seed=0)[1]
    assert set(left_out) == {"no data", "black", "between train and val"}
    assert 0.3 < left_out["no data"] / 24**2 < 0.45
    assert 0.1 < left_out["black"] / 24**2 < 0.2
    for tile in read_all(whole.aerial):
        assert np.mean(tile.max(axis=-1) < 5) <= 0.15
        assert np.mean(np.all(tile == FILL_RGB, axis=-1)) <= 0.15


def test_a_geotiff_gives_the_same_tiles_in_windows(coded_map, tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    corners = json.loads(coded_map.with_suffix(".corners.json").read_text())
    grid = rasterio.transform.from_bounds(*(corners[key] for key in ("west", "south", "east", "north")), 256, 256)
    profile = {"driver": "GTiff", "width": 256, "height": 256, "count": 3, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(tmp_path / "coded.tif", "w", transform=grid, **profile) as file:
        file.write(np.moveaxis(coded(), -1, 0))
    rows = []
    real_open = map_views.open_map

    class Watched:
        def __init__(self, path):
            self._map = real_open(path)

        def __getattr__(self, name):
            return getattr(self._map, name)

        def read(self, frame, **window):
            rows.append(window["rows"])
            return self._map.read(frame, **window)

    monkeypatch.setattr(map_views, "open_map", Watched)
    tiff, _ = map_split([tmp_path / "coded.tif"], **SIZES, part="val", seed=0)
    png, _ = map_split([coded_map], **SIZES, part="val", seed=0)
    assert np.abs(read_all(tiff.aerial).astype(int) - read_all(png.aerial)).max() <= 1
    read_all(tiff.query)
    assert max(rows) <= 2 * SIZES["side_px"]


def digest(split):
    return hashlib.sha256(read_all(split.query).tobytes() + read_all(split.aerial).tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_process(coded_map, tmp_path):
    other = write_map(tmp_path / "other.png", coded()[::-1], north_m=5000.0)
    split, left_out = map_split([coded_map, other], **SIZES, part="val", seed=7)
    again, left_out_again = map_split([other, coded_map, other], **SIZES, part="val", seed=7)
    assert digest(split) == digest(again) == digest(pickle.loads(pickle.dumps(split)))
    assert left_out == left_out_again
    assert digest(split) != digest(map_split([coded_map, other], **SIZES, part="val", seed=8)[0])
    code = f"""
import hashlib, numpy as np
from pathlib import Path
from pilotage_trainer.data.map_split import map_split
split, _ = map_split([Path({str(other)!r}), Path({str(coded_map)!r})], ground_m=20.0, side_px=20, part="val", seed=7)
read = lambda images: b"".join(images.read(i, np.random.default_rng([0, i])).tobytes() for i in range(len(images)))
import sys
assert "torch" not in sys.modules
print(hashlib.sha256(read(split.query) + read(split.aerial)).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(split)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"ground_m": float("nan")}, ModelError, "ground_m is nan"),
        ({"ground_m": (30.0, 20.0)}, ModelError, "(smallest, largest)"),
        ({"side_px": 4}, ModelError, "side_px is 4"),
        ({"pitch_m": float("nan")}, ModelError, "pitch_m is nan"),
        ({"pitch_m": 0.0}, ModelError, "pitch_m is 0.0"),
        ({"part": "test"}, ModelError, "known are train and val"),
        ({"seed": -1}, ModelError, "must not be negative"),
        ({"ground_m": 300.0}, MapError, "256 x 256 m, smaller than one tile of 300 m"),
        ({"ground_m": 150.0}, MapError, "hold 1 block(s) of 3 x 3 tiles of 150 m"),
        ({"side_px": 128}, MapError, "too coarse for 20 m in 128 px"),
    ],
)
def test_map_split_refuses_in_one_line(coded_map, options, error, says):
    with pytest.raises(error) as refused:
        map_split([coded_map], **{**SIZES, "part": "train", "seed": 0, **options})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_map_split_refuses_no_maps_and_maps_without_data(tmp_path):
    with pytest.raises(ModelError, match="one map or more"):
        map_split([], **SIZES, part="train", seed=0)
    empty = write_map(tmp_path / "empty.png", coded(), alpha=np.zeros((256, 256), np.uint8))
    with pytest.raises(MapError, match=r"hold 0 block\(s\) .* \(left out: 576 no data\)"):
        map_split([empty], **SIZES, part="train", seed=0)
    with pytest.raises(ModelError, match="must be finite"):
        ViewErrors(camera=float("nan"))
    with pytest.raises(ModelError, match=r"offset 0.3 is more than 0.25"):
        ViewErrors(offset=0.3)


@pytest.fixture
def real_data():
    folder = os.environ.get("PILOTAGE_REAL_DATA")
    if not folder:
        pytest.skip("PILOTAGE_REAL_DATA is unset: it names the folder of real imagery")
    return Path(folder)


def likeness(a, b):
    a, b = (cv2.GaussianBlur(v, (0, 0), 2).mean(axis=2).ravel() for v in (a, b))
    return np.corrcoef(a, b)[0, 1]


def test_real_town_pictures_make_both_parts(real_data, tmp_path):
    maps = []
    for number, picture in enumerate(sorted((real_data / "town_tiles").glob("*.jpg"))[:5]):
        rgb = cv2.imread(str(picture))[..., ::-1]
        maps.append(write_map(tmp_path / f"{number}.png", rgb, north_m=1000.0 * number, gsd_m=0.2))
    errors = ViewErrors(light=0, shadows=0, uncovered=0)
    train, val = both(maps, ground_m=(30.0, 60.0), side_px=96, errors=errors)
    assert len(train.query) == 4 * len(val.query) > 80
    alike = [
        likeness(train.query.read(i, np.random.default_rng(i)), train.aerial.read(i, None)) for i in range(0, 80, 4)
    ]
    other = [likeness(train.query.read(i, np.random.default_rng(i)), train.aerial.read(i + 2, None)) for i in range(20)]
    assert np.median(alike) > 0.55
    assert np.median(other) < 0.3


def test_a_real_mosaic_leaves_its_ragged_edge_out(real_data):
    train, left_out = map_split(
        [real_data / "brighton_beach" / "map" / "map.png"], ground_m=20.0, side_px=96, part="train", seed=0
    )
    assert left_out["no data"] > 50
    assert len(train.query) > 15
    assert max(np.all(tile == FILL_RGB, axis=-1).mean() for tile in read_all(train.aerial)) < 0.15
