"""Year against year: crops of one year's aerial picture against tiles of another's, as NAIP has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import MapError, require
from pilotage.values import Rgb
from pilotage_trainer.dense import Describe

_SIDE_PX = 128


@dataclass(frozen=True, slots=True)
class YearProtocol:
    """A gallery over what all years share, and crops at random places. The tile is 128 pixels: no resampling."""

    pitch: float = 0.25  # of the tile
    queries: int = 100
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Year:
    """One picture; `west_m` and `north_m` are its edges in its own projected metres."""

    name: str
    image: Rgb
    west_m: float
    north_m: float
    gsd_m: float

    def crop(self, east_m: float, north_m: float) -> Rgb:
        """Return the tile about a place, to the nearest pixel."""
        column = round((east_m - self.west_m) / self.gsd_m) - _SIDE_PX // 2
        row = round((self.north_m - north_m) / self.gsd_m) - _SIDE_PX // 2
        return self.image[row : row + _SIDE_PX, column : column + _SIDE_PX]


def read_years(folder: Path) -> list[Year]:
    """Read every GeoTIFF of a folder, oldest first by name."""
    rasterio = require("rasterio", extra="train", purpose="measuring year against year")
    years, systems = [], set()
    for path in sorted(folder.glob("*.tif")):
        try:
            with rasterio.open(path) as file:
                to_ground, system, data = file.transform, str(file.crs), file.read([1, 2, 3])
        except (rasterio.errors.RasterioIOError, IndexError) as error:
            raise MapError(f"{path}: not a colour GeoTIFF that can be read ({error})") from error
        if data.dtype != np.uint8 or to_ground.b or to_ground.d or to_ground.a != -to_ground.e:
            raise MapError(f"{path}: must be 8-bit, north-up, with square pixels")
        systems.add((system, to_ground.a))
        image = np.ascontiguousarray(np.moveaxis(data, 0, -1))
        years.append(Year(path.stem, image, float(to_ground.c), float(to_ground.f), float(to_ground.a)))
    if len(years) < 2 or len(systems) > 1:
        raise MapError(
            f"{folder}: {len(years)} GeoTIFFs in {len(systems)} grids; takes two years or more, of one coordinate "
            "system and one pixel size"
        )
    return years


def against(describe: Describe, query: Year, gallery: Year, *, protocol: YearProtocol) -> dict[str, float]:
    """Return recall of crops of one year in tiles of another.

    "Nearest": the best of all tiles is the one that lies nearest, so both its axes are within half a pitch. "Half
    tile": the best of all tiles lies within half a tile of the crop.
    """
    tile_m = _SIDE_PX * gallery.gsd_m
    pitch_m = protocol.pitch * tile_m
    easts, norths = _grid(query, gallery, tile_m, pitch_m)
    centres = np.stack(np.meshgrid(easts, norths), axis=-1).reshape(-1, 2)
    rng = np.random.default_rng(protocol.seed)
    low, high = centres.min(axis=0), centres.max(axis=0)
    truth = rng.uniform(low, high, (protocol.queries, 2))
    tiles = describe(np.stack([gallery.crop(e, n) for e, n in centres]))
    crops = describe(np.stack([query.crop(e, n) for e, n in truth]))
    order = np.argsort(-(crops @ tiles.T), axis=1)[:, :5]
    miss_m = np.abs(centres[order] - truth[:, None])
    nearest = miss_m.max(axis=2) <= pitch_m / 2 + 1e-6
    distance_m = np.linalg.norm(miss_m, axis=2)
    return {
        "recall_at_1_nearest": float(np.mean(nearest[:, 0])),
        "recall_at_5_nearest": float(np.mean(np.any(nearest, axis=1))),
        "recall_at_1_half_tile": float(np.mean(distance_m[:, 0] <= tile_m / 2)),
        "gallery": float(len(centres)),
    }


def _grid(query: Year, gallery: Year, tile_m: float, pitch_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return east and north of the tile centres over what both years cover."""
    margin_m = tile_m / 2 + gallery.gsd_m  # one pixel more: the two grids do not start on the same metre
    west = max(query.west_m, gallery.west_m) + margin_m
    north = min(query.north_m, gallery.north_m) - margin_m
    east = min(y.west_m + y.image.shape[1] * y.gsd_m for y in (query, gallery)) - margin_m
    south = max(y.north_m - y.image.shape[0] * y.gsd_m for y in (query, gallery)) + margin_m
    if east - west < pitch_m or north - south < pitch_m:
        raise MapError(f"{query.name} and {gallery.name} share too little ground for tiles of {tile_m:g} m")
    return np.arange(west, east, pitch_m), np.arange(south, north, pitch_m)


def year_against_year(
    describe: Describe, folder: Path, *, protocol: YearProtocol | None = None
) -> list[dict[str, float | str]]:
    """Measure each year against the one before it, and the newest against the oldest."""
    protocol = YearProtocol() if protocol is None else protocol
    years = read_years(folder)
    pairs = [(new, old) for old, new in pairwise(years)]
    if len(years) > 2:
        pairs.append((years[-1], years[0]))
    size_m = _SIDE_PX * years[0].gsd_m
    grid = f"tiles of {size_m:g} m every {size_m * protocol.pitch:g} m"
    return [
        {
            "set": f"{new.name[-8:]} in the map of {old.name[-8:]}, {grid}",
            **against(describe, new, old, protocol=protocol),
        }
        for new, old in pairs
    ]
