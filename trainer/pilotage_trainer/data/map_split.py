"""Any georeferenced map as a data set: its own tiles, against what a nadir camera would see of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pilotage.errors import MapError, ModelError
from pilotage.progress import track
from pilotage_trainer.data.map_grid import BLOCK_TILES, Flags, Grid, Ints, grounds, lay
from pilotage_trainer.data.map_views import (
    APART,
    MIN_VALID,
    MapTiles,
    NadirViews,
    OpenMaps,
    Places,
    ViewErrors,
    check_map,
    check_part,
    ground_range,
    read_tile,
    said,
)
from pilotage_trainer.data.split import Split, earth_xyz_m

_VAL_SHARE = 0.2  # of the blocks
_CELLS = 16  # a tile is looked through for data in this many rows and columns
_BLACK = 4  # grey levels: what mosaics are filled with, and no ground shows


@dataclass(frozen=True, slots=True)
class _Views:
    """Places as maps show them, (V,) each: a place on several maps (of several years) is several views."""

    grid: Ints
    place: Ints  # of its grid
    which_map: Ints

    def only(self, keep: Flags) -> _Views:
        return _Views(self.grid[keep], self.place[keep], self.which_map[keep])


def map_split(
    paths: Sequence[Path],
    *,
    ground_m: float | tuple[float, float],
    side_px: int,
    pitch_m: float | None = None,
    part: str,
    seed: int,
    errors: ViewErrors | None = None,
) -> tuple[Split, dict[str, int]]:
    """Return the places of one part of some maps, and how many were left out, by reason.

    Give both parts the same maps, sizes and seed: then no ground is in both, whatever the errors. A place on several
    maps (of several years) is one id, with a query and a reference of each. Tiles of (smallest, largest) `ground_m` are
    drawn evenly in their logarithm; without `pitch_m` places lie half of the largest tile apart.
    """
    tile_m = ground_range(ground_m, side_px)
    pitch_m = tile_m[1] / 2 if pitch_m is None else pitch_m
    if not 0 < pitch_m < math.inf:
        raise ModelError(f"pitch_m is {pitch_m}: give metres above 0")
    check_part(part, seed)
    maps = OpenMaps(sorted(set(paths)))
    grids = _grids(maps, tile_m, pitch_m, side_px=side_px, seed=seed)
    left_out: Counter[str] = Counter()
    views = _shown(maps, grids, left_out)
    views = views.only(_parts(grids, views, tile_m[1], seed, left_out)[part])
    if not len(views.place):
        raise MapError(f"the maps hold no place for {part} ({said(left_out)}): give smaller tiles or more maps")
    places, ids = _gather(grids, views)
    xyz_m = earth_xyz_m(places.lat_deg, places.lon_deg)
    split = Split(
        name=f"map {part}",
        query=NadirViews(maps, places, side_px=side_px, errors=ViewErrors() if errors is None else errors),
        aerial=MapTiles(maps, places, side_px=side_px),
        query_id=ids,
        aerial_id=ids,
        query_xyz_m=xyz_m,
        aerial_xyz_m=xyz_m,
        apart_m=APART * tile_m[1],
    )
    return split, dict(+left_out)


def _grids(maps: OpenMaps, tile_m: tuple[float, float], pitch_m: float, *, side_px: int, seed: int) -> list[Grid]:
    if not len(maps):
        raise ModelError("a split of maps needs one map or more")
    for which, path in enumerate(maps.paths):
        check_map(path, maps[which], ground_m=tile_m, side_px=side_px)
    found = grounds([maps[which].bounds for which in range(len(maps))], tile_m[1])
    return [
        lay(ground, tile_m=tile_m, pitch_m=pitch_m, rng=np.random.default_rng([seed, 0x9A9, number]))
        for number, ground in enumerate(found)
    ]


def _shown(maps: OpenMaps, grids: list[Grid], left_out: Counter[str]) -> _Views:
    """Return which places the maps show, each counted once for every map about it."""
    rows: list[tuple[int, int, int]] = []
    for number, grid in enumerate(grids):
        for which in grid.ground.maps:
            inside = grid.inside(maps[which].bounds)
            left_out["outside the map"] += int(np.count_nonzero(~inside))
            rows += [(number, int(place), which) for place in np.flatnonzero(inside)]
    kept = []
    for row in track(rows, "look for data", len(rows), unit="place"):
        lacking = _lacking(maps, grids[row[0]], row[1], row[2])
        if lacking is None:
            kept.append(row)
        else:
            left_out[lacking] += 1
    return _Views(*np.array(kept, np.int64).reshape(-1, 3).T)


def _lacking(maps: OpenMaps, grid: Grid, place: int, which: int) -> str | None:
    """Say why a tile is no place."""
    lat_deg, lon_deg = grid.wgs84(place)
    image, valid = read_tile(maps[which], lat_deg, lon_deg, ground_m=float(grid.tile_m[place]), side_px=_CELLS)
    if valid.mean() < MIN_VALID:
        return "no data"
    return "black" if (valid & (image.max(axis=2) > _BLACK)).mean() < MIN_VALID else None


def _parts(grids: list[Grid], views: _Views, margin_m: float, seed: int, left_out: Counter[str]) -> dict[str, Flags]:
    """Return which views are in which part: whole blocks for val, the rest without a margin for train."""
    block_of_view = np.array([grids[g].block[p] for g, p in zip(views.grid, views.place, strict=True)], np.int64)
    blocks = sorted({(int(g), int(b)) for g, b in zip(views.grid, block_of_view, strict=True) if b >= 0})
    if len(blocks) < 2:
        raise MapError(
            f"the maps hold {len(blocks)} block(s) of {BLOCK_TILES} x {BLOCK_TILES} tiles of {margin_m:g} m with data "
            f"({said(left_out)}), and train and val need 2: give a smaller ground_m, a larger map or more maps"
        )
    order = np.random.default_rng([seed, 0xB10C]).permutation(len(blocks))
    chosen = [blocks[at] for at in order[: max(1, round(_VAL_SHARE * len(blocks)))]]
    train, val = np.zeros(len(views.grid), bool), np.zeros(len(views.grid), bool)
    for number, grid in enumerate(grids):
        held, free = [block for g, block in chosen if g == number], np.ones(len(grid.block), bool)
        for block in held:
            free &= grid.gap_m(block) >= margin_m - 1e-6
        here = views.grid == number
        train[here], val[here] = free[views.place[here]], np.isin(block_of_view[here], held)
    left_out["between train and val"] += int(np.count_nonzero(~(train | val)))
    return {"train": train, "val": val}


def _gather(grids: list[Grid], views: _Views) -> tuple[Places, Ints]:
    """Return the places that are kept, and their ids; an id is the same in both parts."""
    first = np.cumsum([0] + [len(grid.block) for grid in grids])
    rows = [
        (*grids[g].wgs84(int(place)), float(grids[g].tile_m[place]))
        for g, place in zip(views.grid, views.place, strict=True)
    ]
    lat_deg, lon_deg, ground_m = np.array(rows, np.float64).T
    places = Places(views.which_map, lat_deg, lon_deg, ground_m)
    return places, np.asarray(first[views.grid] + views.place, np.int64)
