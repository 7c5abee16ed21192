"""Trees: woods of separate crowns, hedges, gardens, orchards, single trees."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.world.layout import Layout
from pilotage.world.noise import Field, fractal
from pilotage.world.style import Style


def plant(
    rng: np.random.Generator,
    style: Style,
    layout: Layout,
    *,
    wooded: NDArray[np.bool_],
    free: NDArray[np.bool_],
    gsd_m: float,
) -> tuple[Field, NDArray[np.uint8]]:
    """Return (tree height above the ground, tone of each crown 1..255; 0 where there is no tree)."""
    side_px = layout.terrain_m.shape[0]
    pitch = style.crown_m / gsd_m
    columns, rows = np.meshgrid(np.arange(0, side_px, pitch), np.arange(0, side_px, pitch))
    points = np.column_stack([columns.ravel(), rows.ravel()])
    points = points + rng.uniform(-0.46, 0.46, points.shape) * pitch
    points = np.clip(points, 0, side_px - 1).astype(np.int32)
    x, y = points[:, 0], points[:, 1]
    clumps = fractal(rng, side_px, cell_px=140 / gsd_m, octaves=4, gain=0.6)[y, x]
    town = layout.town[y, x]
    chance = np.where(wooded[y, x], 0.94, 0.0)
    chance = np.maximum(chance, np.where(town > 0, 0.10 * style.tree_density, 0.0))
    chance = np.maximum(chance, np.clip(clumps - 1.55, 0, 0.5))
    chance = np.maximum(chance, _hedges(rng, layout)[y, x] * style.tree_density * 0.55)
    keep = (rng.random(len(points)) < chance) & free[y, x]
    x, y, in_wood = x[keep], y[keep], wooded[y, x][keep]
    if len(x) == 0:
        return np.zeros((side_px, side_px), np.float32), np.zeros((side_px, side_px), np.uint8)
    size = np.where(in_wood, rng.uniform(0.55, 0.85, len(x)), rng.uniform(0.25, 0.75, len(x)))
    return _crowns(rng, x, y, size * style.crown_m / gsd_m, gsd_m=gsd_m, side_px=side_px)


def _hedges(rng: np.random.Generator, layout: Layout) -> Field:
    """Some parcels wear a hedge along their border."""
    parcel = layout.parcel
    border = np.zeros(parcel.shape, np.uint8)
    edge = (parcel[1:, :-1] != parcel[:-1, :-1]) | (parcel[:-1, 1:] != parcel[:-1, :-1])
    wears = rng.random(layout.parcel_count) < 0.3
    border[:-1, :-1] = edge & wears[parcel[:-1, :-1]]
    return cv2.dilate(border, np.ones((9, 9), np.uint8)).astype(np.float32)


def _crowns(
    rng: np.random.Generator,
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    radius_px: NDArray[np.float64],
    *,
    gsd_m: float,
    side_px: int,
) -> tuple[Field, NDArray[np.uint8]]:
    """Every pixel belongs to its nearest trunk: the crown is a dome about it."""
    seeds = np.ones((side_px, side_px), np.uint8)
    seeds[y, x] = 0
    distance, label = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    count = int(label.max()) + 1
    radius = np.zeros(count, np.float32)
    radius[label[y, x]] = radius_px
    tall = radius * gsd_m * rng.uniform(2.0, 3.6, count).astype(np.float32)
    tone = rng.integers(1, 256, count).astype(np.uint8)
    near = np.flatnonzero((distance < radius.max()).ravel())  # the rest is open land
    owner = label.ravel()[near]
    reach = distance.ravel()[near] / radius[owner]
    lumpy = (rng.random(len(near), dtype=np.float32) - 0.5) * 0.5
    inside = reach + 0.3 * lumpy < 1
    near, owner, reach, lumpy = near[inside], owner[inside], reach[inside], lumpy[inside]
    height = np.zeros(side_px * side_px, np.float32)
    shade = np.zeros(side_px * side_px, np.uint8)
    height[near] = tall[owner] * (np.sqrt(np.clip(1 - 0.75 * reach * reach, 0, 1)) + 0.12 * lumpy)
    shade[near] = tone[owner]
    return np.maximum(height, 0).reshape(side_px, side_px), shade.reshape(side_px, side_px)
