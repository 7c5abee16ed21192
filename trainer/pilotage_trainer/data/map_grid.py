"""Where the places of a map split lie: jittered grids over the ground of the maps, in blocks of several tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage.geo import LocalFrame, metres_per_degree
from pilotage.maps import Bounds

BLOCK_TILES = 3  # along a side of the blocks that are train or val as a whole
_JITTER = 0.25  # of the pitch
_ROUNDING = 1e-3  # of a step: corners in degrees do not give whole metres back
_APART_TILES = 3  # maps further apart than this share no ground, not even with a margin

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ground:
    """Maps that touch or nearly do: one local frame about the middle of them all, one set of blocks."""

    maps: tuple[int, ...]
    bounds: Bounds
    blocks: tuple[int, int]  # rows from the south, columns from the west

    @property
    def frame(self) -> LocalFrame:
        """Local metres about the middle."""
        return self.bounds.frame()

    @property
    def span_m(self) -> tuple[float, float]:
        """North-south and east-west length."""
        north_m, east_m = self.frame.to_local(self.bounds.north, self.bounds.east)
        return 2 * north_m, 2 * east_m


@dataclass(frozen=True, slots=True)
class Grid:
    """Places over one ground; all arrays are (N,)."""

    ground: Ground
    north_m: Floats
    east_m: Floats
    tile_m: Floats
    block: Ints  # -1 where the tile lies in no single block

    def wgs84(self, place: int) -> tuple[float, float]:
        """Return (lat_deg, lon_deg) of a place."""
        return self.ground.frame.to_wgs84(float(self.north_m[place]), float(self.east_m[place]))

    def inside(self, bounds: Bounds) -> Flags:
        """Return which tiles lie within a map's edges."""
        top_m, right_m = self.ground.frame.to_local(bounds.north, bounds.east)
        bottom_m, left_m = self.ground.frame.to_local(bounds.south, bounds.west)
        half_m = self.tile_m / 2 - 1e-6
        north = (self.north_m + half_m <= top_m) & (self.north_m - half_m >= bottom_m)
        return np.asarray(north & (self.east_m + half_m <= right_m) & (self.east_m - half_m >= left_m))

    def gap_m(self, block: int) -> Floats:
        """Return how far every tile's edge lies from a block, north-south or east-west; below 0 inside."""
        gap = np.full(len(self.north_m), -np.inf)
        axes = zip(self.ground.span_m, self.ground.blocks, divmod(block, self.ground.blocks[1]), strict=True)
        for (span_m, count, index), at_m in zip(axes, (self.north_m, self.east_m), strict=True):
            half_m = span_m / count / 2
            centre_m = (2 * index + 1) * half_m - span_m / 2
            gap = np.maximum(gap, np.abs(at_m - centre_m) - half_m - self.tile_m / 2)
        return np.asarray(gap, np.float64)


def grounds(bounds: list[Bounds], largest_tile_m: float) -> list[Ground]:
    """Return the maps in groups that are further apart than any margin."""
    left, found = set(range(len(bounds))), []
    while left:
        group = [min(left)]
        left.discard(group[0])
        for at in group:  # grows while it is walked
            near = sorted(other for other in left if _near(bounds[at], bounds[other], _APART_TILES * largest_tile_m))
            group += near
            left.difference_update(near)
        found.append(_ground(tuple(sorted(group)), [bounds[which] for which in group], largest_tile_m))
    return found


def _near(a: Bounds, b: Bounds, reach_m: float) -> bool:
    north_m, east_m = metres_per_degree(max(abs(edge) for edge in (a.north, a.south, b.north, b.south)))
    north = max(a.south - b.north, b.south - a.north) * north_m
    return north < reach_m and max(a.west - b.east, b.west - a.east) * east_m < reach_m


def _ground(maps: tuple[int, ...], bounds: list[Bounds], largest_tile_m: float) -> Ground:
    north, west = max(b.north for b in bounds), min(b.west for b in bounds)
    union = Bounds(north, west, min(b.south for b in bounds), max(b.east for b in bounds))
    rows, columns = (
        max(1, int(span / (BLOCK_TILES * largest_tile_m) + _ROUNDING)) for span in Ground(maps, union, (1, 1)).span_m
    )
    return Ground(maps, union, (rows, columns))


def lay(ground: Ground, *, tile_m: tuple[float, float], pitch_m: float, rng: np.random.Generator) -> Grid:
    """Lay places over the ground: about one every `pitch_m`, no tile across its outer edge."""
    spans = ground.span_m
    axes = [_axis(span_m - tile_m[1], pitch_m) for span_m in spans]
    nodes = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    size_m = np.exp(rng.uniform(math.log(tile_m[0]), math.log(tile_m[1]), len(nodes[0])))
    jitter_m = rng.uniform(-_JITTER, _JITTER, (2, len(size_m))) * pitch_m
    free_m = [(span_m - size_m) / 2 for span_m in spans]
    north_m, east_m = (np.clip(node + j, -free, free) for node, j, free in zip(nodes, jitter_m, free_m, strict=True))
    return Grid(ground, north_m, east_m, size_m, _block(ground, (north_m, east_m), size_m))


def _axis(free_m: float, pitch_m: float) -> Floats:
    count = int(free_m / pitch_m + _ROUNDING) + 1
    return np.asarray((np.arange(count) - (count - 1) / 2) * pitch_m, np.float64)


def _block(ground: Ground, at_m: tuple[Floats, Floats], size_m: Floats) -> Ints:
    """Return which block of its ground every tile lies in; -1 where it lies in no single one."""
    number = np.zeros(len(size_m), np.int64)
    whole = np.ones(len(size_m), bool)
    reach_m = size_m / 2 - 1e-6
    for span_m, count, middle_m in zip(ground.span_m, ground.blocks, at_m, strict=True):
        first, last = (
            np.clip(np.floor((middle_m + side * reach_m + span_m / 2) / (span_m / count)), 0, count - 1)
            for side in (-1, 1)
        )
        whole &= first == last
        number = number * count + first.astype(np.int64)
    return np.where(whole, number, -1)
