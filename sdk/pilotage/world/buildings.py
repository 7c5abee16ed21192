"""Buildings: where streets leave room, of many shapes, with roofs that have a form and a colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.world.layout import Layout
from pilotage.world.noise import Field
from pilotage.world.style import Style


@dataclass(frozen=True, slots=True)
class Building:
    """A footprint of one to three boxes in its own turned frame, metres."""

    column_px: float
    row_px: float
    angle_rad: float
    boxes: tuple[tuple[float, float, float, float], ...]  # centre u, centre v, length, width
    eave_m: float
    pitch: float  # 0 flat; rise over run of a gable
    roof: NDArray[np.float32]  # colour
    seed: int

    @property
    def reach_m(self) -> float:
        """Radius of a circle that holds it."""
        return max(float(np.hypot(abs(u) + a / 2, abs(v) + b / 2)) for u, v, a, b in self.boxes)


_ROOFS = np.array(
    [
        [152, 88, 68],
        [126, 72, 60],
        [172, 112, 88],
        [92, 92, 96],
        [120, 120, 122],
        [70, 72, 78],
        [150, 148, 142],
        [104, 84, 72],
        [178, 172, 162],
        [112, 62, 56],
        [86, 102, 112],
        [134, 136, 128],
    ],
    np.float32,
)
_FLATS = np.array([[176, 174, 168], [146, 146, 146], [112, 112, 114], [202, 200, 194], [92, 96, 104]], np.float32)


def place_buildings(
    rng: np.random.Generator, style: Style, layout: Layout, street_mask: NDArray[np.uint8], gsd_m: float
) -> list[Building]:
    """Walk along every street and put a house wherever there is room."""
    roofs = _ROOFS[rng.choice(len(_ROOFS), 5, replace=False)]
    shrink = 2
    small = cv2.resize(np.maximum(street_mask, layout.water), None, fx=1 / shrink, fy=1 / shrink)
    taken = np.asarray(cv2.dilate(small, np.ones((3, 3), np.uint8)), np.uint8)
    cell_m = gsd_m * shrink
    found: list[Building] = []
    for street in layout.streets:
        if street.kind == "track":
            continue
        for column, row, heading in _stations(rng, street.line, gsd_m):
            here = float(layout.town[min(int(row), len(layout.town) - 1), min(int(column), len(layout.town) - 1)])
            if here < 0 and rng.random() > 0.05:
                continue
            for side in (-1, 1):
                if rng.random() > 0.9:
                    continue
                house = _draw(rng, style, roofs, here)
                back_m = street.width_m / 2 + rng.uniform(4, 11) + max(v + b / 2 for _, v, _, b in house[0])
                x = column - side * np.sin(heading) * back_m / gsd_m
                y = row + side * np.cos(heading) * back_m / gsd_m
                turn = heading + (np.pi if side < 0 else 0) + rng.normal(0, 0.03)
                turn += rng.choice([0, np.pi / 2], p=[0.75, 0.25])
                building = Building(x, y, turn, *house, seed=int(rng.integers(2**31)))
                if _claim(taken, building, cell_m, shrink):
                    found.append(building)
    return found


def _stations(rng: np.random.Generator, line: NDArray[np.float32], gsd_m: float) -> list[tuple[float, float, float]]:
    """Return (column, row, heading) at house-sized steps along a line."""
    step = np.diff(line, axis=0)
    along = np.concatenate([[0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))]) * gsd_m
    stations, at = [], rng.uniform(4, 14)
    while at < along[-1]:
        piece = min(int(np.searchsorted(along, at, side="right")) - 1, len(step) - 1)
        share = (at - along[piece]) / max(along[piece + 1] - along[piece], 1e-6)
        column, row = line[piece] + share * step[piece]
        if column >= 0 and row >= 0:
            stations.append((float(column), float(row), float(np.arctan2(step[piece][1], step[piece][0]))))
        at += rng.uniform(13, 24)
    return stations


def _draw(
    rng: np.random.Generator, style: Style, roofs: NDArray[np.float32], town: float
) -> tuple[tuple[tuple[float, float, float, float], ...], float, float, NDArray[np.float32]]:
    """Return (boxes, eave height, roof pitch, roof colour) of a farm, a house, a block or a hall."""
    kind = rng.random()
    if kind < style.industry * 0.5:  # hall
        length, width = rng.uniform(24, 70), rng.uniform(16, 36)
        return ((0, 0, length, width),), rng.uniform(5, 10), 0.0, _vary(rng, _FLATS)
    if town > 0.45 and kind > 0.55:  # block of flats
        length, width = rng.uniform(22, 60), rng.uniform(11, 15)
        boxes = [(0.0, 0.0, length, width)]
        if rng.random() < 0.4:
            boxes.append((length / 2 - width / 2, width, width, width * 2))
        flat = rng.random() < 0.65
        return tuple(boxes), rng.uniform(9, 22), 0.0 if flat else 0.5, _vary(rng, _FLATS if flat else roofs)
    length, width = rng.uniform(9, 19), rng.uniform(7, 11)
    boxes = [(0.0, 0.0, length, width)]
    extra = rng.random()
    if extra < 0.35:  # L
        boxes.append((rng.choice([-1, 1]) * (length / 2 - 3), width * 0.6, 6.0, width))
    elif extra < 0.5:  # T
        boxes.append((rng.uniform(-2, 2), width * 0.6, 6.0, width))
    if rng.random() < 0.5:  # garage or shed
        boxes.append((rng.choice([-1, 1]) * (length / 2 + 5), rng.uniform(-3, 3), 5.5, rng.uniform(4, 7)))
    return tuple(boxes), rng.uniform(2.8, 6.5), rng.uniform(0.35, 0.9), _vary(rng, roofs)


def _vary(rng: np.random.Generator, colours: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(colours[rng.integers(len(colours))] * rng.uniform(0.82, 1.18) + rng.normal(0, 5, 3), np.float32)


def _claim(taken: NDArray[np.uint8], building: Building, cell_m: float, shrink: int) -> bool:
    """Mark the ground as built on, if it is free."""
    x, y, reach = building.column_px / shrink, building.row_px / shrink, int(building.reach_m / cell_m) + 3
    left, top = int(x) - reach, int(y) - reach
    if left < 0 or top < 0 or left + 2 * reach >= taken.shape[1] or top + 2 * reach >= taken.shape[0]:
        return False
    window = taken[top : top + 2 * reach, left : left + 2 * reach]
    stamp = np.zeros_like(window)
    c, s = np.cos(building.angle_rad), np.sin(building.angle_rad)
    for u, v, a, b in building.boxes:
        corners = np.array(
            [[u - a / 2, v - b / 2], [u + a / 2, v - b / 2], [u + a / 2, v + b / 2], [u - a / 2, v + b / 2]]
        )
        pixels = corners @ np.array([[c, s], [-s, c]]) / cell_m + [x - left, y - top]
        cv2.fillConvexPoly(stamp, np.round(pixels).astype(np.int32), 1)
    grown = np.asarray(cv2.dilate(stamp, np.ones((5, 5), np.uint8)), np.uint8)
    if np.any(grown & window):
        return False
    window |= stamp
    return True


def raise_buildings(buildings: list[Building], *, side_px: int, gsd_m: float) -> tuple[Field, NDArray[np.uint8]]:
    """Return (height above the ground, roof colours; black where there is none)."""
    height = np.zeros((side_px, side_px), np.float32)
    colour = np.zeros((side_px, side_px, 3), np.uint8)
    for building in buildings:
        reach = int(building.reach_m / gsd_m) + 2
        left, top = max(int(building.column_px) - reach, 0), max(int(building.row_px) - reach, 0)
        right, bottom = min(left + 2 * reach, side_px), min(top + 2 * reach, side_px)
        if right - left < 2 or bottom - top < 2:
            continue
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = (columns - building.column_px) * gsd_m, (rows - building.row_px) * gsd_m
        c, s = np.cos(building.angle_rad), np.sin(building.angle_rad)
        u, v = dx * c + dy * s, -dx * s + dy * c
        own = np.zeros_like(u)
        rng = np.random.default_rng(building.seed)
        tone = np.ones_like(u)
        for index, (cu, cv, a, b) in enumerate(building.boxes):
            along, across = np.abs(u - cu), np.abs(v - cv)
            length, width = max(a, b), min(a, b)
            if b > a:
                along, across = across, along
            inside = (along <= length / 2) & (across <= width / 2)
            eave = building.eave_m * (1.0 if index == 0 else 0.85)
            if building.pitch:
                rise = building.pitch * (width / 2 - across)
            else:
                rise = _clutter(rng, along, across, length_m=length, width_m=width)
            np.maximum(own, np.where(inside, eave + rise, 0), out=own)
        if building.pitch:
            tone += 0.05 * np.sin(v * 2 * np.pi / 0.9)  # rows of tiles
        window = height[top:bottom, left:right]
        higher = own > window
        window[higher] = own[higher]
        paint = np.clip(building.roof * tone[..., None], 1, 255).astype(np.uint8)
        colour[top:bottom, left:right][higher] = paint[higher]
    return height, colour


def _clutter(rng: np.random.Generator, along: Field, across: Field, *, length_m: float, width_m: float) -> Field:
    """Parapet and roof machines of a flat roof."""
    rise = np.where((along > length_m / 2 - 0.6) | (across > width_m / 2 - 0.6), 0.7, 0.0).astype(np.float32)
    for _ in range(int(length_m * width_m / 220)):
        x, y, size = rng.uniform(0, length_m / 2), rng.uniform(0, width_m / 2), rng.uniform(1, 2.5)
        rise[(np.abs(along - x) < size) & (np.abs(across - y) < size)] = 1.6
    return rise
