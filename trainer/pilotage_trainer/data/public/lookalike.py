"""Miniature look-alikes of the public data sets: their trees and split files, with pictures that can be learnt.

`write_cvusa(Path("rehearsal"), pairs=200, rng=np.random.default_rng(0))` rehearses a run before a download of days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError, require
from pilotage.picture import write_picture
from pilotage.values import Rgb
from pilotage_trainer.data.public.blobs import Land, on_another_day

TILE_PX, PANORAMA_PX = 64, (64, 128)
_CVUSA_PX, _CVUSA_UP_DEG = (24, 128), 65.0  # its panoramas are cropped
_SIDE_M = 60.0
_CITIES = {
    "Chicago": (41.88, -87.63),
    "NewYork": (40.74, -73.99),
    "SanFrancisco": (37.77, -122.43),
    "Seattle": (47.6, -122.32),
}
_TOWN_UTM_M = np.array([690_000.0, 6_090_000.0])
_EARTH_M = 6_371_004.0
_VIGOR_SIDE_PX, _VIGOR_PX_M = 640, 0.114
_DRONE_VIEWS = 4


def _write(path: Path, image: Rgb, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, on_another_day(image, rng))


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rest(pairs: int, *, share: int = 3) -> int:
    """Return how many are not trained on."""
    if pairs < 4:
        raise ModelError(f"a look-alike of {pairs} pairs: give 4 or more")
    return max(2, pairs // share)


def write_cvusa(folder: Path, *, pairs: int = 24, rng: np.random.Generator) -> None:
    """Write `pairs` pairs to train and a third as many to validate, ids mixed; polar tiles are not written."""
    count = pairs + _rest(pairs)
    ids = (1 + rng.permutation(count + 3))[:count]  # three rows of all.csv have no pair
    places = np.column_stack([rng.uniform(32, 46, count + 3), rng.uniform(-120, -75, count + 3)])
    for number in ids:
        land = Land.scattered(rng, east_m=_SIDE_M, north_m=_SIDE_M)
        height_px, width_px = _CVUSA_PX
        ground = land.panorama(0, 0, height_px=height_px, width_px=width_px, up_deg=_CVUSA_UP_DEG)
        _write(folder / f"bingmap/19/{number:07d}.jpg", land.tile(0, 0, side_m=_SIDE_M, side_px=TILE_PX), rng)
        _write(folder / f"streetview/panos/{number:07d}.jpg", ground, rng)
    for part, of_part in (("train", ids[:pairs]), ("val", ids[pairs:])):
        names = ("bingmap/19/{0:07d}.jpg", "streetview/panos/{0:07d}.jpg", "streetview/annotations/{0:07d}.png")
        _write_lines(folder / f"splits/{part}-19zl.csv", [",".join(names).format(number) for number in of_part])
    rows = [f"{lat:.6f},{lon:.6f},{lat + 2e-5:.6f},{lon - 1e-5:.6f},0" for lat, lon in places]
    _write_lines(folder / "split_locations/all.csv", rows)


def write_cvact(folder: Path, *, pairs: int = 24, rng: np.random.Generator) -> None:
    """Write `pairs` places of one town to train, a third as many to validate and to test; some lie within 25 m."""
    matlab = require("scipy.io", extra="train", purpose="writing ACT_data.mat")
    third = _rest(pairs)
    count = pairs + 2 * third
    side_m = 60.0 * math.sqrt(count)
    land = Land.scattered(rng, east_m=side_m, north_m=side_m)
    places_m = rng.uniform(-0.5, 0.5, (count, 2)) * (side_m - _SIDE_M)
    names = [f"pano{rng.integers(16**8):08x}{i:04d}" for i in range(count)]
    order = rng.permutation(count)
    parts = {"train": order[:pairs], "val": order[pairs : pairs + third], "test": order[pairs + third :]}
    for part, of_part in parts.items():
        for i in of_part:
            under = folder / ("ANU_data_test" if part == "test" else "ANU_data_small")
            tile = land.tile(*places_m[i], side_m=_SIDE_M, side_px=TILE_PX)
            _write(under / f"satview_polish/{names[i]}_satView_polish.jpg", tile, rng)
            _write(under / f"streetview/{names[i]}_grdView.jpg", _sphere(land, places_m[i]), rng)
    index = {part: {"trainInd" if part == "train" else "valInd": 1 + rows[:, None]} for part, rows in parts.items()}
    table: dict[str, Any] = {"panoIds": np.array([[name] for name in names], object), "utm": places_m + _TOWN_UTM_M}
    table |= {"trainSet": index["train"], "valSet": index["val"], "valSetAll": index["test"]}
    matlab.savemat(folder / "ACT_data.mat", table)


def _sphere(land: Land, place_m: NDArray[np.float64]) -> Rgb:
    return land.panorama(*place_m, height_px=PANORAMA_PX[0], width_px=PANORAMA_PX[1])


def write_vigor(
    folder: Path, *, pairs: int = 24, rng: np.random.Generator, tree: str = "official", cities: tuple[str, ...] = ()
) -> None:
    """Write `pairs` panoramas in each city, half of them to train; the outer tiles of a city have no query."""
    if tree not in ("official", "sample4geo"):
        raise ModelError(f"tree {tree!r}; known are official and sample4geo")
    half = pairs - _rest(pairs, share=2)
    for city in cities or tuple(_CITIES):
        ground, satellite = (city, "panorama"), (city, "satellite")
        if tree == "sample4geo":
            ground, satellite = ("ground", city), ("satellite", city)
        tiles: list[str] = []
        labels: list[str] = []
        for line, name, image in _vigor_pictures(city, pairs, rng):
            _write(folder.joinpath(*(ground if line else satellite), name), image, rng)
            (labels if line else tiles).append(line or name)
        splits = folder / "splits" / city
        _write_lines(splits / "satellite_list.txt", tiles)
        _write_lines(splits / "same_area_balanced_train.txt", labels[:half])
        _write_lines(splits / "same_area_balanced_test.txt", labels[half:])
        _write_lines(splits / "pano_label_balanced.txt", labels)


def _vigor_pictures(city: str, pairs: int, rng: np.random.Generator) -> Iterator[tuple[str, str, Rgb]]:
    """Yield the label line (none for a tile), the name and the picture of a city's tiles, then of its queries."""
    lat0, lon0 = _CITIES[city]
    step_m = _VIGOR_SIDE_PX * _VIGOR_PX_M / 2  # tiles overlap by half
    lat_m = math.radians(1) * _EARTH_M
    lon_m = lat_m * math.cos(math.radians(lat0))
    rows = math.ceil(math.sqrt(pairs)) + 2
    land = Land.scattered(rng, east_m=(rows + 1) * step_m, north_m=(rows + 1) * step_m)
    middles_m = [
        ((j - (rows - 1) / 2) * step_m, (i - (rows - 1) / 2) * step_m) for i in range(rows) for j in range(rows)
    ]
    names = [f"satellite_{lat0 + n / lat_m:.10f}_{lon0 + e / lon_m:.10f}.png" for e, n in middles_m]
    for name, (east_m, north_m) in zip(names, middles_m, strict=True):
        yield "", name, land.tile(east_m, north_m, side_m=2 * step_m, side_px=TILE_PX)
    inner = [k for k in range(rows**2) if 0 < k // rows < rows - 1 and 0 < k % rows < rows - 1]
    for number, k in enumerate(rng.permutation(inner)[:pairs]):
        place_m = np.array(middles_m[k]) + rng.uniform(-0.5, 0.5, 2) * step_m
        lat, lon = lat0 + place_m[1] / lat_m, lon0 + place_m[0] / lon_m
        pano = f"look-alike-{number:05d},{lat:.6f},{lon:.6f},.jpg"
        north, east = (1 if place_m[axis] > middles_m[k][axis] else -1 for axis in (1, 0))
        around = (k, k + rows * north, k + east, k + rows * north + east)  # the four tiles that show the place
        yield " ".join([pano, *(_offset(names[t], lat, lon) for t in around)]), pano, _sphere(land, place_m)


def _offset(tile: str, lat: float, lon: float) -> str:
    """Return a tile's part of a label line: the query stands at row 320 + d0, column 320 - d1."""
    tile_lat, tile_lon = (float(v) for v in tile.removesuffix(".png").split("_")[1:])
    d0_px = math.radians(tile_lat - lat) * _EARTH_M / _VIGOR_PX_M
    d1_px = math.radians(tile_lon - lon) * math.cos(math.radians(tile_lat)) * _EARTH_M / _VIGOR_PX_M
    return f"{tile} {d0_px:.1f} {d1_px:.1f}"


def write_university(folder: Path, *, pairs: int = 24, rng: np.random.Generator) -> None:
    """Write `pairs` buildings to train, a third as many to test and as many distractors again."""
    third = _rest(pairs)
    ids = 1 + rng.permutation(pairs + 2 * third + 5)[: pairs + 2 * third]
    for at, building in enumerate(ids):
        land, name = Land.scattered(rng, east_m=_SIDE_M, north_m=_SIDE_M, every_m=20), f"{building:04d}"
        if at < pairs:
            views = {"train/satellite": 1, "train/drone": _DRONE_VIEWS}
        else:
            views = {"test/gallery_satellite": 1, "test/gallery_drone": _DRONE_VIEWS}
        if pairs <= at < pairs + third:
            views |= {"test/query_satellite": 1, "test/query_drone": _DRONE_VIEWS}
        for under, count in views.items():
            for k in range(count):
                file = f"image-{k + 1:02d}.jpeg" if count > 1 else f"{name}.jpg"
                _write(folder / under / name / file, _from_above(land, rng, drone=count > 1), rng)


def _from_above(land: Land, rng: np.random.Generator, *, drone: bool) -> Rgb:
    """Return the map's tile, or what a drone sees of it: turned, shifted and from another height."""
    if not drone:
        return land.tile(0, 0, side_m=_SIDE_M, side_px=TILE_PX)
    east_m, north_m = rng.uniform(-4, 4, 2)
    side_m = rng.uniform(0.7, 1.1) * _SIDE_M
    return land.tile(east_m, north_m, side_m=side_m, side_px=TILE_PX, turn_deg=rng.uniform(0, 360))


WRITERS = {"cvusa": write_cvusa, "cvact": write_cvact, "vigor": write_vigor, "university": write_university}
