"""Tiles of georeferenced maps, and what a nadir camera would see of them: windows, read when asked for."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError, ModelError
from pilotage.maps import Map, open_map
from pilotage.rectify import RectifyConfig
from pilotage.values import Rgb
from pilotage_trainer.data.augment import footprint_mask, mask_out, photometric
from pilotage_trainer.data.orthophotos import camera_errors, moved_shadows

APART = 0.6  # of the tile: other places nearer than this show much of the same ground
MIN_VALID = 0.9  # of a tile that must hold data
REACH = 0.5  # of the tile: no camera sees further past the tile's edges than this
_MAX_OPEN = 32  # maps at a time, in every process


class OpenMaps:
    """Maps by number, opened when first read, again in every process: what GDAL holds does not survive a fork."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._open: dict[int, Map] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: int) -> Map:
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        found = self._open.pop(which, None)
        if found is None:
            while len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()  # the one that was read longest ago
            found = open_map(self.paths[which])
        self._open[which] = found
        return found

    def __reduce__(self) -> tuple[type[OpenMaps], tuple[tuple[Path, ...]]]:
        return OpenMaps, (self.paths,)


@dataclass(frozen=True, slots=True)
class Places:
    """North-up squares of ground, each on one map; all arrays are (N,)."""

    which_map: NDArray[np.int64]
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    ground_m: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.which_map)


@dataclass(frozen=True, slots=True)
class ViewErrors:
    """What is wrong between a map and a rectified frame of the same place; all 0 gives the tile itself."""

    camera: float = 1.0  # scales 1-sigma errors of 4 degrees of heading, 5 % of height, 2 degrees or so of tilt
    offset: float = 0.0  # of the tile: how far the camera may stand from its middle, north and east
    light: float = 0.85  # strength of `photometric`
    shadows: float = 0.6  # of the frames: shadows lie to another side
    uncovered: float = 0.75  # of the frames: they do not cover the whole patch

    def __post_init__(self) -> None:
        numbers = (self.camera, self.offset, self.light, self.shadows, self.uncovered)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ModelError(f"view errors must be finite and not below 0, got {self}")
        if self.offset > REACH / 2:
            raise ModelError(f"offset {self.offset:g} is more than {REACH / 2:g} of the tile")


def read_tile(
    maps: Map, lat_deg: float, lon_deg: float, *, ground_m: float, side_px: int, pad_px: int = 0
) -> tuple[Rgb, NDArray[np.bool_]]:
    """Return (pixels, where the map has data) of the square about a place, `pad_px` wider on every side."""
    frame = maps.bounds.frame()  # the frame a pack of this map has
    north_m, east_m = frame.to_local(lat_deg, lon_deg)
    gsd_m = ground_m / side_px
    half_m, side = ground_m / 2 + pad_px * gsd_m, side_px + 2 * pad_px
    return maps.read(
        frame, top_north_m=north_m + half_m, left_east_m=east_m - half_m, rows=side, columns=side, gsd_m=gsd_m
    )


def check_map(path: Path, maps: Map, *, ground_m: tuple[float, float], side_px: int) -> tuple[float, float]:
    """Return (north, east) metres of a map, or refuse one that is too small or too coarse for its tiles."""
    bounds, frame = maps.bounds, maps.bounds.frame()
    north_m, east_m = frame.to_local(bounds.north, bounds.east)
    if 2 * min(north_m, east_m) < ground_m[1]:
        raise MapError(
            f"{path}: the map is {2 * north_m:.0f} x {2 * east_m:.0f} m, smaller than one tile of {ground_m[1]:g} m: "
            "give a smaller ground_m or a larger map"
        )
    finest_m = ground_m[0] / side_px
    if maps.gsd_m > RectifyConfig().max_blowup * finest_m:
        raise MapError(
            f"{path}: its pixels of {maps.gsd_m:.3g} m are too coarse for {ground_m[0]:g} m in {side_px} px "
            f"({finest_m:.3g} m): give a larger ground_m, a smaller side_px or a finer map"
        )
    return 2 * north_m, 2 * east_m


def ground_range(ground_m: float | tuple[float, float], side_px: int) -> tuple[float, float]:
    """Return the smallest and the largest tile in metres, checked."""
    low, high = ground_m if isinstance(ground_m, tuple) else (ground_m, ground_m)
    if not (0 < low <= high and math.isfinite(high)):
        raise ModelError(f"ground_m is {ground_m}: give metres above 0, or (smallest, largest)")
    if side_px < 8:
        raise ModelError(f"side_px is {side_px}: give 8 or more")
    return float(low), float(high)


def check_part(part: str, seed: int) -> None:
    """Refuse a part that is neither train nor val, and a seed that numpy does not take."""
    if part not in ("train", "val"):
        raise ModelError(f"part {part!r}; known are train and val")
    if seed < 0:
        raise ModelError(f"seed {seed} must not be negative")


def said(left_out: Counter[str]) -> str:
    """Return the reasons in one line."""
    return "left out: " + (", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none")


class MapTiles:
    """The references: the map's own tile at every place, or up to `offset` of the tile beside it."""

    def __init__(self, maps: OpenMaps, places: Places, *, side_px: int, offset: float = 0.0) -> None:
        self._maps, self._places, self._side_px, self._offset = maps, places, side_px, offset

    def __len__(self) -> int:
        return len(self._places)

    def name(self, index: int) -> str:
        """Return the map and the place."""
        places = self._places
        path = self._maps.paths[places.which_map[index]]
        return f"{path}@{places.lat_deg[index]:.7f},{places.lon_deg[index]:.7f}:{places.ground_m[index]:.1f}m"

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return the tile; `rng` draws the offset, and nothing without one."""
        places, ground_m = self._places, float(self._places.ground_m[index])
        maps = self._maps[int(places.which_map[index])]
        lat_deg, lon_deg = float(places.lat_deg[index]), float(places.lon_deg[index])
        if self._offset > 0:
            frame = maps.bounds.frame()
            north_m, east_m = frame.to_local(lat_deg, lon_deg)
            north_m, east_m = np.array([north_m, east_m]) + rng.uniform(-1, 1, 2) * self._offset * ground_m
            lat_deg, lon_deg = frame.to_wgs84(float(north_m), float(east_m))
        return read_tile(maps, lat_deg, lon_deg, ground_m=ground_m, side_px=self._side_px)[0]


class NadirViews(MapTiles):
    """The queries: rectified frames of a nadir camera over every place, with another light and errors every time."""

    def __init__(self, maps: OpenMaps, places: Places, *, side_px: int, errors: ViewErrors) -> None:
        super().__init__(maps, places, side_px=side_px)
        self._errors = errors

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return the view that `rng` draws."""
        errors, places = self._errors, self._places
        distort = camera_errors(rng, errors.camera)
        distort = _moved(*(2 * errors.offset * rng.uniform(-1, 1, 2))) @ distort
        pad_px = _pad_px(distort, self._side_px)
        image, valid = read_tile(
            self._maps[int(places.which_map[index])],
            float(places.lat_deg[index]),
            float(places.lon_deg[index]),
            ground_m=float(places.ground_m[index]),
            side_px=self._side_px,
            pad_px=pad_px,
        )
        view, covered = _warp(image, valid, distort, self._side_px)
        if rng.random() < errors.shadows:
            view = moved_shadows(view, rng)
        if errors.light > 0:
            view = photometric(view, rng, strength=errors.light)
        if rng.random() < errors.uncovered:
            covered &= footprint_mask(self._side_px, rng)
        return mask_out(view, covered)


def _moved(north: float, east: float) -> NDArray[np.float64]:
    return np.array([[1.0, 0.0, east], [0.0, 1.0, -north], [0.0, 0.0, 1.0]])


def _pad_px(distort: NDArray[np.float64], side_px: int) -> int:
    """Return by how much the window must be wider than the tile; never past REACH."""
    corners = distort @ np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], np.float64)
    furthest = float(np.abs(corners[:2] / np.maximum(corners[2], 0.1)).max())
    needed = math.ceil((furthest - 1) * side_px / 2 + 2) if furthest > 1 + 1e-9 else 0  # 2: the kernel of the warp
    return min(needed, int(REACH * side_px))


def _warp(
    image: Rgb, valid: NDArray[np.bool_], distort: NDArray[np.float64], side_px: int
) -> tuple[Rgb, NDArray[np.bool_]]:
    """Return the window as the camera saw it; exactly itself where nothing is wrong."""
    to_unit = np.array([[1, 0, -(side_px - 1) / 2], [0, 1, -(side_px - 1) / 2], [0, 0, side_px / 2]]) / (side_px / 2)
    middle = (image.shape[0] - 1) / 2
    to_window = np.array([[side_px / 2, 0, middle], [0, side_px / 2, middle], [0, 0, 1]])
    matrix, size = to_window @ distort @ to_unit, (side_px, side_px)
    view = cv2.warpPerspective(
        image, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    seen = cv2.warpPerspective(
        valid.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderValue=0
    )
    view[seen == 0] = FILL_RGB
    return np.asarray(view, np.uint8), np.asarray(seen > 0)
