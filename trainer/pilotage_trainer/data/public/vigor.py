"""VIGOR: 105,214 panoramas in four cities; queries stand anywhere in their tile, and tiles without a query count.

`<City>/panorama`, `<City>/satellite` (or `ground/<City>`, `satellite/<City>`), `splits/<City>/*.txt`. A label line is
the panorama, then four times (tile, d0, d1): the positive and three semi-positives; the query stands at column
320 - d1, row 320 + d0 of the 640 px tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
_HALF_TILE_PX = 320
_HALF_TILE_DEG = math.degrees(_HALF_TILE_PX * 0.114 / 6_371_004.0)  # of latitude, as the labels were made


@dataclass(frozen=True, slots=True)
class _City:
    """Where a city's pictures lie; its tiles by name, numbered through all cities, with their middles."""

    ground: str
    satellite: str
    tiles: dict[str, int]
    deg: dict[int, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Label:
    """One query: its positive, its semi-positives and how far it stands from the middle of the positive."""

    panorama: str
    positive: int
    semi: tuple[int, ...]
    d0_px: float
    d1_px: float


def read(listing: Listing, part: str, findings: Findings) -> Split | None:
    """Read one part; what is wrong goes into the findings."""
    of_part, file_name = _LABELS[part]
    tile_paths: list[str] = []
    deg: dict[int, tuple[float, float]] = {}
    labels: list[_Label] = []
    for name in of_part:
        city = _city(listing, name, len(tile_paths), findings)
        tile_paths += [f"{city.satellite}/{tile}" for tile in city.tiles]
        deg |= city.deg
        labels += _labels(listing, f"splits/{name}/{file_name}", city, findings)
    for what, paths in (("tiles missing", tile_paths), ("panoramas missing", [label.panorama for label in labels])):
        findings.fault(what, [path for path in paths if not listing.has(path)])
    findings.counts |= {f"{part} panoramas": len(labels), f"{part} tiles": len(tile_paths)}
    if not findings.ok:
        return None
    places, tiles = np.array([_place(label, deg) for label in labels]), np.array([deg[i] for i in range(len(deg))])
    return Split(
        name=f"VIGOR {part}",
        query=ImageFiles([listing.path(label.panorama) for label in labels]),
        aerial=ImageFiles([listing.path(path) for path in tile_paths]),
        query_id=np.array([label.positive for label in labels], np.int64),
        aerial_id=np.arange(len(tile_paths), dtype=np.int64),
        semi_id=np.array([label.semi for label in labels], np.int64),
        query_xyz_m=earth_xyz_m(places[:, 0], places[:, 1]),
        aerial_xyz_m=earth_xyz_m(tiles[:, 0], tiles[:, 1]),
    )


def _place(label: _Label, deg: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """Return latitude and longitude of a query: a degree of longitude is shorter in Seattle than in New York."""
    lat, lon = deg[label.positive]
    px_deg = _HALF_TILE_DEG / _HALF_TILE_PX
    return lat - label.d0_px * px_deg, lon - label.d1_px * px_deg / math.cos(math.radians(lat))


def _city(listing: Listing, name: str, first: int, findings: Findings) -> _City:
    """Read a city's list of tiles; a tile's middle is in its name: satellite_lat_lon.png."""
    ground, satellite = _folders(listing, name)
    list_name = f"splits/{name}/satellite_list.txt"
    city = _City(ground, satellite, {}, {})
    for number, tile in listing.lines(list_name):
        try:
            lat, lon = (float(v) for v in tile.removesuffix(".png").split("_")[1:3])
        except ValueError:
            lat, lon = math.nan, math.nan
        if tile in city.tiles or not (abs(lat) < 90 and abs(lon) <= 180):
            findings.fault("tiles named twice, or without a place in their name", [f"{list_name}:{number}"])
            continue
        city.deg[first + len(city.tiles)] = (lat, lon)
        city.tiles[tile] = first + len(city.tiles)
    return city


def _folders(listing: Listing, city: str) -> tuple[str, str]:
    """Return where panoramas and tiles of a city lie, in either public tree."""
    if listing.names(f"{city}/satellite"):
        return f"{city}/panorama", f"{city}/satellite"
    if listing.names(f"satellite/{city}"):
        return f"ground/{city}", f"satellite/{city}"
    raise ModelError(f"{listing.folder}: no tiles in {city}/satellite nor in satellite/{city}")


def _labels(listing: Listing, name: str, city: _City, findings: Findings) -> list[_Label]:
    """Read the label lines of a city."""
    labels: list[_Label] = []
    seen: dict[str, int] = {}
    for number, line in listing.lines(name):
        fields = line.split()
        label = _label(fields, city) if len(fields) == 13 else None
        if label is None:
            findings.fault("label lines that cannot be read", [f"{name}:{number}"])
            continue
        if max(abs(label.d0_px), abs(label.d1_px)) > _HALF_TILE_PX:
            findings.fault("queries outside their own tile", [f"{name}:{number}"])
        if label.positive in label.semi:
            findings.fault("label lines whose positive is a semi-positive too", [f"{name}:{number}"])
        if label.panorama in seen:
            findings.note("panoramas named twice", [f"{name}:{number} and :{seen[label.panorama]}"])
        seen[label.panorama] = number
        labels.append(label)
    return labels


def _label(fields: list[str], city: _City) -> _Label | None:
    """Return what 13 fields say; None where they name no tile of the city or no number."""
    named = [city.tiles.get(tile, -1) for tile in fields[1::3]]
    try:
        offsets_px = [float(field) for at, field in enumerate(fields) if at % 3 != 1 and at > 0]
    except ValueError:
        return None
    if min(named) < 0 or not all(math.isfinite(value) for value in offsets_px):
        return None
    return _Label(f"{city.ground}/{fields[0]}", named[0], tuple(named[1:]), offsets_px[0], offsets_px[1])
