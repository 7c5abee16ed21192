"""A camera on the ground: a 360-degree panorama over the same heights and colours that the nadir camera sees.

Every column of the picture is one bearing. The march goes outwards along all bearings at once, with growing steps; a
sample is visible where its elevation angle rises above everything nearer. What rises is painted as the face of a wall
or a tree, what lies flat as ground seen edge-on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.values import Rgb
from pilotage.world.look import Look, take
from pilotage.world.nadir import ground_height_m
from pilotage.world.world import World

_ZENITH_RGB, _HORIZON_RGB = (96, 142, 200), (206, 216, 224)
_NEAR_M, _FAR_M, _SAMPLES = 0.8, 420.0, 260
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Panorama:
    """Geometry of the picture. The middle column looks along the heading, columns run clockwise, edges look back."""

    width: int = 512
    height: int = 128
    top_deg: float = 35.0  # elevation of the upper edge
    bottom_deg: float = -45.0
    eye_m: float = 2.0  # above the ground

    def bearings_rad(self, yaw_rad: float) -> Array:
        """Return the bearing of every column, clockwise from north."""
        columns = (np.arange(self.width) + 0.5) / self.width
        return np.asarray(yaw_rad + (columns - 0.5) * 2 * math.pi, np.float32)

    def elevations_rad(self) -> Array:
        """Return the elevation of every row, from the top down."""
        rows = (np.arange(self.height) + 0.5) / self.height
        return np.asarray(np.radians(self.top_deg + rows * (self.bottom_deg - self.top_deg)), np.float32)


def render_ground(
    world: World,
    *,
    north_m: float,
    east_m: float,
    yaw_rad: float,
    panorama: Panorama | None = None,
    look: Look | None = None,
    rng: np.random.Generator | None = None,
) -> Rgb:
    """Return the panorama from a place: (height, width, 3) uint8."""
    panorama = Panorama() if panorama is None else panorama
    bearing = panorama.bearings_rad(yaw_rad)
    reach_m = np.geomspace(_NEAR_M, _FAR_M, _SAMPLES).astype(np.float32)
    half_m, gsd_m = world.size_m / 2, world.gsd_m
    column = ((east_m + half_m) + np.sin(bearing)[None] * reach_m[:, None]) / gsd_m - 0.5
    row = ((half_m - north_m) - np.cos(bearing)[None] * reach_m[:, None]) / gsd_m - 0.5
    eye_alt_m = ground_height_m(world, north_m, east_m) + panorama.eye_m
    surface, colour = _sample(world, column.astype(np.float32), row.astype(np.float32))
    _clear_the_eye(surface, reach_m, eye_alt_m - panorama.eye_m)
    elevation = np.arctan2(surface - np.float32(eye_alt_m), reach_m[:, None])
    picture = _project(panorama, elevation, colour, reach_m)
    return take(picture, look, np.random.default_rng(0) if rng is None else rng) if look is not None else picture


def _sample(world: World, column: Array, row: Array) -> tuple[Array, Array]:
    """Return heights and colours along the rays, from the cut-out that they cross."""
    top, left = max(int(row.min()) - 2, 0), max(int(column.min()) - 2, 0)
    bottom, right = min(int(row.max()) + 3, world.side_px), min(int(column.max()) + 3, world.side_px)
    if bottom - top < 2 or right - left < 2:
        raise ValueError("render_ground stands outside the world: choose a place inside it")
    x, y = column - left, row - top
    mode = cv2.BORDER_REPLICATE
    surface = cv2.remap(world.surface_m[top:bottom, left:right], x, y, cv2.INTER_LINEAR, borderMode=mode)
    colour = cv2.remap(world.scene_rgb[top:bottom, left:right], x, y, cv2.INTER_LINEAR, borderMode=mode)
    return np.asarray(surface, np.float32), np.asarray(colour, np.float32)


def _clear_the_eye(surface: Array, reach_m: Array, ground_m: float) -> None:
    """Nobody stands inside a wall: what rises within three metres is flattened."""
    near = reach_m < 3.0
    surface[near] = np.minimum(surface[near], np.float32(ground_m))


def _project(panorama: Panorama, elevation: Array, colour: Array, reach_m: Array) -> Rgb:
    """Give every pixel the nearest sample that reaches its elevation; sky where none does."""
    horizon = np.maximum.accumulate(elevation, axis=0)
    rows = panorama.elevations_rad()
    width = elevation.shape[1]
    # For one column: the first sample whose running maximum reaches this elevation. Both are sorted, so each row's
    # answer is a count, and the counts of all rows and columns come from one sort-free histogram of bins.
    step = (rows[0] - rows[-1]) / (len(rows) - 1)
    reached_row = np.clip(np.ceil((rows[0] - horizon) / step - 1e-6), 0, panorama.height).astype(np.int64)
    counts = np.zeros((panorama.height + 1, width), np.int32)
    np.add.at(counts, (reached_row, np.broadcast_to(np.arange(width), reached_row.shape)), 1)
    visible_by = np.cumsum(counts[: panorama.height], axis=0)  # samples whose maximum reaches this row or above
    first = _SAMPLES - visible_by
    sky = first >= _SAMPLES
    first = np.minimum(first, _SAMPLES - 1)
    columns = np.broadcast_to(np.arange(width), first.shape)
    picture = colour[first, columns]
    before = np.maximum(first - 1, 0)
    face = np.clip((elevation[first, columns] - horizon[before, columns]) * reach_m[first] / 2.5, 0, 1)
    depth = (horizon[first, columns] - rows[:, None]) * reach_m[first]  # metres below the edge that is seen
    picture *= (1 - face * (0.28 + 0.12 * np.clip(depth / 6, 0, 1)))[..., None]
    fog = (1 - np.exp(-reach_m[first] / 650))[..., None]
    picture += fog * (np.array(_HORIZON_RGB, np.float32) - picture)
    share = np.clip(rows / math.radians(max(panorama.top_deg, 1)), 0, 1)[:, None, None]
    dome = np.array(_HORIZON_RGB, np.float32) + share * (np.array(_ZENITH_RGB) - np.array(_HORIZON_RGB))
    picture = np.where(sky[..., None], dome, picture)
    return np.clip(picture, 0, 255).astype(np.uint8)
