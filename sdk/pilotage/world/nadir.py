"""A camera over the world: true perspective over the height map, so that buildings and trees lean.

Every pixel's ray is marched down through the slab of heights below the camera until it passes under the surface.
The march runs at half the picture's size; colours are looked up at full size. Beyond the world's edge lies a plain of
one dull colour, which belongs to no place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.camera import Camera
from pilotage.values import Rgb
from pilotage.world.look import Look, take
from pilotage.world.world import World

_STEPS = 20
_PLAIN_RGB = (98, 104, 90)
_WALL_SHADE = 0.68
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera is in the world's local metres and how the body is turned."""

    north_m: float
    east_m: float
    alt_m: float  # above mean sea level
    roll_rad: float = 0.0
    pitch_rad: float = 0.0
    yaw_rad: float = 0.0


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of the world that the camera can see, perhaps at a coarser pixel."""

    rgb: Rgb
    surface_m: Array
    north_edge_m: float
    west_edge_m: float
    gsd_m: float


def render_nadir(
    world: World, camera: Camera, pose: Pose, *, look: Look | None = None, rng: np.random.Generator | None = None
) -> Rgb:
    """Return what the camera sees: (height, width, 3) uint8. Without a look, the pure geometry and colours."""
    rays = _rays(camera, pose)
    if rays[..., 2].min() < 0.15:
        raise ValueError(
            "render_nadir sees the horizon: keep the camera within about 60 degrees of nadir, lens included"
        )
    window = _window(world, camera, pose, rays)
    picture = _march(window, pose, rays, (camera.width, camera.height))
    return take(picture, look, np.random.default_rng(0) if rng is None else rng) if look is not None else picture


def _rays(camera: Camera, pose: Pose) -> Array:
    """Return (h, w, 3) NED directions with unit down where not stated otherwise, at half the picture's size."""
    width, height = max(camera.width // 2, 2), max(camera.height // 2, 2)
    u = (np.arange(width, dtype=np.float64) + 0.5) * (camera.width / width) - 0.5
    v = (np.arange(height, dtype=np.float64) + 0.5) * (camera.height / height) - 0.5
    grid = np.stack(np.meshgrid(u, v), axis=-1)
    if camera.distorted:
        flat = cv2.undistortPoints(grid.reshape(-1, 1, 2), camera.matrix, np.asarray(camera.dist))
        xy = np.asarray(flat).reshape(height, width, 2)
    else:
        xy = (grid - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    direction = np.concatenate([xy, np.ones((height, width, 1))], axis=-1)
    ned = direction @ camera.ned_from_camera(pose.roll_rad, pose.pitch_rad, pose.yaw_rad).T
    return ned.astype(np.float32)


def _window(world: World, camera: Camera, pose: Pose, rays: Array) -> _Window:
    """Cut the footprint out of the world, and shrink it where the camera is coarser than the world."""
    above_m = max(pose.alt_m - float(world.terrain_m[::64, ::64].min()) + 2.0, 1.0)
    reach = rays[..., :2] / rays[..., 2:] * above_m
    half_m = world.size_m / 2
    n_lo, n_hi = pose.north_m + float(reach[..., 0].min()), pose.north_m + float(reach[..., 0].max())
    e_lo, e_hi = pose.east_m + float(reach[..., 1].min()), pose.east_m + float(reach[..., 1].max())
    side = world.side_px
    top = min(max(int((half_m - n_hi) / world.gsd_m) - 4, 0), side - 2)
    bottom = max(min(int((half_m - n_lo) / world.gsd_m) + 5, side), top + 2)
    left = min(max(int((e_lo + half_m) / world.gsd_m) - 4, 0), side - 2)
    right = max(min(int((e_hi + half_m) / world.gsd_m) + 5, side), left + 2)
    rgb, surface = world.scene_rgb[top:bottom, left:right], world.surface_m[top:bottom, left:right]
    ratio = above_m / camera.fx / world.gsd_m
    gsd_m = world.gsd_m
    if ratio > 1.25:
        size = (max(2, round((right - left) / ratio)), max(2, round((bottom - top) / ratio)))
        gsd_m = world.gsd_m * (right - left) / size[0]
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        surface = np.asarray(cv2.resize(surface, size, interpolation=cv2.INTER_AREA), np.float32)
    return _Window(rgb, surface, half_m - top * world.gsd_m, left * world.gsd_m - half_m, gsd_m)


def _march(window: _Window, pose: Pose, rays: Array, size: tuple[int, int]) -> Rgb:
    """Follow the rays down to the surface and look up its colours."""
    slope_n, slope_e = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    scale = np.float32(1 / window.gsd_m)
    # pixel coordinates along a ray are linear in the depth below the camera
    column0, column_rate = np.float32((pose.east_m - window.west_edge_m) * scale - 0.5), slope_e * scale
    row0, row_rate = np.float32((window.north_edge_m - pose.north_m) * scale - 0.5), -slope_n * scale
    highest, lowest = float(window.surface_m.max()), float(window.surface_m.min())
    first = max(pose.alt_m - highest - 0.1, 0.5)
    last = max(pose.alt_m - lowest + 0.1, first + 0.5)

    def surface(depth: Array | float) -> Array:
        sampled = cv2.remap(
            window.surface_m,
            column0 + column_rate * depth,
            row0 + row_rate * depth,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(sampled, np.float32)

    above = np.full(slope_n.shape, first, np.float32)  # depth known to be above the surface
    gap_above = np.full(slope_n.shape, 1e-3, np.float32)
    below = np.full(slope_n.shape, last, np.float32)
    gap_below = np.full(slope_n.shape, -1e-3, np.float32)
    flying = np.ones(slope_n.shape, bool)
    for depth in np.linspace(first, last, _STEPS, dtype=np.float32):
        gap = np.float32(pose.alt_m) - depth - surface(float(depth))
        hit = flying & (gap <= 0)
        below[hit], gap_below[hit] = depth, gap[hit]
        flying &= ~hit
        above[flying], gap_above[flying] = depth, gap[flying]
        if not flying.any():
            break
    depth_hit = above + (below - above) * (gap_above / np.maximum(gap_above - gap_below, 1e-4))
    for _ in range(2):  # halve what is left towards the crossing
        gap = np.float32(pose.alt_m) - depth_hit - surface(depth_hit)
        under = gap <= 0
        below, gap_below = np.where(under, depth_hit, below), np.where(under, gap, gap_below)
        above, gap_above = np.where(under, above, depth_hit), np.where(under, gap_above, gap)
        depth_hit = above + (below - above) * (gap_above / np.maximum(gap_above - gap_below, 1e-4))
    sunk = surface(depth_hit) - (np.float32(pose.alt_m) - depth_hit)
    steep = np.abs(surface(depth_hit + 0.9) - surface(depth_hit - 0.9))
    wall = cv2.resize(((steep > 2.2) | (sunk > 1.5)).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    columns = cv2.resize(column0 + column_rate * depth_hit, size, interpolation=cv2.INTER_LINEAR)
    rows = cv2.resize(row0 + row_rate * depth_hit, size, interpolation=cv2.INTER_LINEAR)
    picture = cv2.remap(
        window.rgb, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_PLAIN_RGB
    )
    shaded = np.flatnonzero(wall.ravel() > 0.05)
    flat = picture.reshape(-1, 3)
    factor = 1 - (1 - _WALL_SHADE) * wall.ravel()[shaded]
    flat[shaded] = (flat[shaded] * factor[:, None]).astype(np.uint8)
    return np.asarray(picture, np.uint8)


def ground_height_m(world: World, north_m: float, east_m: float) -> float:
    """Return the bare ground's height above mean sea level; outside the world, that of its nearest edge."""
    half_m = world.size_m / 2
    row = min(max(math.floor((half_m - north_m) / world.gsd_m), 0), world.side_px - 1)
    column = min(max(math.floor((east_m + half_m) / world.gsd_m), 0), world.side_px - 1)
    return float(world.terrain_m[row, column])
