"""VIGOR: 105,214 panoramas in four cities; queries stand anywhere in their tile, and tiles without a query count.

`<City>/panorama`, `<City>/satellite` (or `ground/<City>`, `satellite/<City>`), `splits/<City>/*.txt`. A label line is
the panorama, then four times (tile, d0, d1): the positive and three semi-positives; the query stands at column
320 - d1, row 320 + d0 of the 640 px tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ModelError
from pilotage_trainer.data.findings import Findings
from pilotage_trainer.data.public.listing import Listing
from pilotage_trainer.data.split import ImageFiles, Split, earth_xyz_m

_ALL = ("Chicago", "NewYork", "SanFrancisco", "Seattle")
_LABELS = {
    "same-train": (_ALL, "same_area_balanced_train.txt"),
    "same-test": (_ALL, "same_area_balanced_test.txt"),
    "cross-train": (("NewYork", "Seattle"), "pano_label_balanced.txt"),
    "cross-test": (("SanFrancisco", "Chicago"), "pano_label_balanced.txt"),
}
PARTS = tuple(_LABELS)
_HALF_TILE_DEG = (0.00032807, 0.00043301)  # of latitude and longitude, as the labels were made
_HALF_TILE_PX = 320


@dataclass(slots=True)
class _City:
    """Tiles of a city by name, numbered through all cities, and the queries that name them."""

    tiles: dict[str, int]
    deg: NDArray[np.float64]


def read(listing: Listing, part: str, findings: Findings) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    cities, labels = _LABELS[part]
    panoramas: list[str] = []
    tile_paths: list[str] = []
    tile_deg, positive, semi, query_deg = [], [], [], []
    for city in cities:
        ground, satellite = _folders(listing, city)
        known = _tiles(listing, city, len(tile_paths), findings)
        findings.fault(
            "tiles missing", [f"{satellite}/{n}" for n in known.tiles if not listing.has(f"{satellite}/{n}")]
        )
        tile_paths += [f"{satellite}/{name}" for name in known.tiles]
        tile_deg.append(known.deg)
        first = min(known.tiles.values())
        name = f"splits/{city}/{labels}"
        for number, line in enumerate(listing.text(name), 1):
            fields = line.split()
            row = _label(fields, known.tiles)
            if row is None:
                findings.fault("label lines that cannot be read", [f"{name}:{number}"])
                continue
            path = f"{ground}/{fields[0]}"
            if not listing.has(path):
                findings.fault("panoramas missing", [path])
            panoramas.append(path)
            positive.append(row[0])
            semi.append(row[1])
            query_deg.append(known.deg[row[0] - first] - np.array(row[2]) * _HALF_TILE_DEG / _HALF_TILE_PX)
    findings.counts |= {f"{part} panoramas": len(panoramas), f"{part} tiles": len(tile_paths)}
    if not findings.ok:
        return None
    places = np.array(query_deg)
    tiles = np.concatenate(tile_deg)
    return Split(
        name=f"VIGOR {part}",
        query=ImageFiles([listing.path(path) for path in panoramas]),
        aerial=ImageFiles([listing.path(path) for path in tile_paths]),
        query_id=np.array(positive, np.int64),
        aerial_id=np.arange(len(tile_paths), dtype=np.int64),
        semi_id=np.array(semi, np.int64),
        query_xyz_m=earth_xyz_m(places[:, 0], places[:, 1]),
        aerial_xyz_m=earth_xyz_m(tiles[:, 0], tiles[:, 1]),
    )


def _folders(listing: Listing, city: str) -> tuple[str, str]:
    """Return where panoramas and tiles of a city lie, in either public tree."""
    if listing.names(f"{city}/satellite"):
        return f"{city}/panorama", f"{city}/satellite"
    if listing.names(f"satellite/{city}"):
        return f"ground/{city}", f"satellite/{city}"
    raise ModelError(f"{listing.folder}: no tiles in {city}/satellite nor in satellite/{city}")


def _tiles(listing: Listing, city: str, first: int, findings: Findings) -> _City:
    """Read a city's list of tiles; a tile's middle is in its name: satellite_lat_lon.png."""
    name = f"splits/{city}/satellite_list.txt"
    tiles: dict[str, int] = {}
    deg = []
    for number, tile in enumerate(listing.text(name), 1):
        try:
            lat, lon = (float(v) for v in tile.removesuffix(".png").split("_")[1:3])
        except ValueError:
            lat, lon = math.nan, math.nan
        if tile in tiles or not (abs(lat) <= 90 and abs(lon) <= 180):
            findings.fault("tiles named twice, or without a place in their name", [f"{name}:{number}"])
            continue
        tiles[tile] = first + len(tiles)
        deg.append((lat, lon))
    if not tiles:
        raise ModelError(f"{listing.path(name)}: no tile in it can be read")
    return _City(tiles, np.array(deg))


def _label(fields: list[str], tiles: dict[str, int]) -> tuple[int, list[int], tuple[float, float]] | None:
    """Return the positive, the semi-positives and (d0, d1) of the positive; None for a line that is none."""
    if len(fields) != 13:
        return None
    named = [tiles.get(tile, -1) for tile in fields[1::3]]
    try:
        d0, d1 = float(fields[2]), float(fields[3])
    except ValueError:
        return None
    if min(named) < 0 or not (math.isfinite(d0) and math.isfinite(d1)):
        return None
    return named[0], named[1:], (d0, d1)
