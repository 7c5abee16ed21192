"""Where things are: terrain, parcels, water, roads, streets. Geometry only, no colours, no light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.world.noise import Field, fractal
from pilotage.world.style import Style

Polyline = NDArray[np.float32]
"""(N, 2) float32 pixels: column, row."""

_PARCEL_SCALE = 2  # parcels are drawn at half the size and enlarged


@dataclass(frozen=True, slots=True)
class Street:
    """A centre line with its width."""

    line: Polyline
    width_m: float
    kind: str  # "main", "road", "street", "track"


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where. Arrays are (side, side)."""

    terrain_m: Field
    parcel: NDArray[np.int32]  # index of the parcel
    parcel_count: int
    parcel_centre_px: NDArray[np.float32]  # (count, 2) column, row
    town: Field  # 0 open land .. 1 town centre
    water: NDArray[np.uint8]  # 1 where water stands
    streets: list[Street]


def lay_out(rng: np.random.Generator, style: Style, *, side_px: int, gsd_m: float) -> Layout:
    """Draw the geography."""
    terrain = fractal(rng, side_px, cell_px=450 / gsd_m, octaves=4, gain=0.42) * style.relief_m
    terrain += 60.0 - float(terrain.min())
    parcel, count, centres = _parcels(rng, style, side_px=side_px, gsd_m=gsd_m)
    town, towns = _towns(rng, style, side_px=side_px, gsd_m=gsd_m)
    water = _water(rng, style, terrain, town, gsd_m)
    streets = _country_roads(rng, style, towns, side_px=side_px, gsd_m=gsd_m)
    for centre, radius_px in towns:
        streets += _town_streets(rng, style, centre, radius_px, gsd_m=gsd_m)
    terrain = _flatten_water(terrain, water)
    return Layout(terrain, parcel, count, centres, town, water, streets)


def _parcels(
    rng: np.random.Generator, style: Style, *, side_px: int, gsd_m: float
) -> tuple[NDArray[np.int32], int, NDArray[np.float32]]:
    """Voronoi cells of stretched, turned points; their borders gently bent."""
    small = side_px // _PARCEL_SCALE
    cell = style.field_m / gsd_m / _PARCEL_SCALE
    stretch, angle = rng.uniform(1.0, 2.2), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    reach = int(1.6 * small)
    xs, ys = np.meshgrid(np.arange(-reach, reach, cell * stretch), np.arange(-reach, reach, cell / stretch))
    points = np.column_stack([xs.ravel(), ys.ravel()])
    points = (points + rng.uniform(-0.45, 0.45, points.shape) * [cell * stretch, cell / stretch]) @ turn.T + small / 2
    points = points[np.all((points > -cell) & (points < small + cell), axis=1)].astype(np.float32)
    bound = int(small + 2 * cell + 4)
    subdivision = cv2.Subdiv2D((-int(cell) - 2, -int(cell) - 2, bound + int(cell), bound + int(cell)))
    subdivision.insert([(float(x), float(y)) for x, y in points])
    facets, centres = subdivision.getVoronoiFacetList([])
    labels = np.zeros((small, small), np.int32)
    for index, facet in enumerate(facets):
        cv2.fillConvexPoly(labels, np.round(facet).astype(np.int32), index)
    bend = style.bend_m / gsd_m / _PARCEL_SCALE
    rows, columns = np.mgrid[:small, :small].astype(np.float32)
    columns += fractal(rng, small, cell_px=max(8.0, cell), octaves=2) * bend
    rows += fractal(rng, small, cell_px=max(8.0, cell), octaves=2) * bend
    labels = cv2.remap(
        labels.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.int32)
    big = np.repeat(np.repeat(labels, _PARCEL_SCALE, axis=0), _PARCEL_SCALE, axis=1)
    full = np.zeros((side_px, side_px), np.int32)
    full[: big.shape[0], : big.shape[1]] = big[:side_px, :side_px]
    return full, len(facets), np.asarray(centres, np.float32) * _PARCEL_SCALE


def _towns(
    rng: np.random.Generator, style: Style, *, side_px: int, gsd_m: float
) -> tuple[Field, list[tuple[NDArray[np.float64], float]]]:
    """Return the town field and the centres (column, row) with radii in pixels."""
    area_km2 = (side_px * gsd_m / 1000) ** 2
    count = max(1, int(rng.poisson(style.towns_per_km2 * area_km2)))
    towns = []
    small = max(side_px // 8, 1)
    rows, columns = np.mgrid[:small, :small].astype(np.float32) * (side_px / small)
    field = np.zeros((small, small), np.float32)
    for _ in range(count):
        centre = rng.uniform(0.08, 0.92, 2) * side_px
        radius = rng.uniform(0.6, 1.5) * style.town_radius_m / gsd_m
        towns.append((centre, radius))
        distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
        np.maximum(field, 1 - distance, out=field)
    field += fractal(rng, small, cell_px=small / 10, octaves=2) * 0.12
    return np.asarray(cv2.resize(field, (side_px, side_px)), np.float32), towns


def _water(rng: np.random.Generator, style: Style, terrain: Field, town: Field, gsd_m: float) -> NDArray[np.uint8]:
    side_px = terrain.shape[0]
    water = np.zeros((side_px, side_px), np.uint8)
    ponds = fractal(rng, side_px, cell_px=180 / gsd_m, octaves=4, gain=0.45) - 0.6 * np.maximum(town, 0)
    level = np.quantile(ponds[::8, ::8], 1 - style.pond_share)
    water[ponds > level] = 1
    if style.river_m > 0:
        line = wander(rng, side_px, sway=0.22)
        width = style.river_m / gsd_m
        for piece in range(len(line) - 1):
            wide = int(width * (1 + 0.25 * np.sin(piece * 0.21) + 0.15 * np.sin(piece * 0.57 + 1)))
            cv2.line(water, *_ends(line[piece : piece + 2]), 1, max(wide, 2))
        rough = fractal(rng, side_px, cell_px=18 / gsd_m, octaves=2)
        soft = cv2.GaussianBlur(water.astype(np.float32), (0, 0), 3 / gsd_m)
        water = (soft + 0.16 * rough > 0.5).astype(np.uint8)
    return water


def _flatten_water(terrain: Field, water: NDArray[np.uint8]) -> Field:
    """Lower the ground to a calm surface where water stands."""
    small = cv2.resize(terrain, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA)
    calm = cv2.resize(cv2.GaussianBlur(small, (0, 0), 8), terrain.shape[::-1])
    soft = cv2.blur(water.astype(np.float32), (9, 9))
    return np.asarray(terrain + soft * (np.minimum(calm, terrain) - 1.0 - terrain), np.float32)


def wander(rng: np.random.Generator, side_px: int, *, sway: float) -> Polyline:
    """Return a smooth line that crosses the whole square."""
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    steps = np.linspace(-0.85, 0.85, 160)
    offset = rng.uniform(-0.25, 0.25)
    for wave in range(1, 6):
        offset = offset + sway / wave**1.1 * rng.uniform(0.2, 1) * np.sin(steps * wave * 4.2 + rng.uniform(0, 6.28))
    points = 0.5 + steps[:, None] * along + np.asarray(offset)[:, None] * across
    return np.asarray(points * side_px, np.float32)


def _ends(pair: Polyline) -> tuple[tuple[int, int], tuple[int, int]]:
    (x0, y0), (x1, y1) = pair
    return (int(x0), int(y0)), (int(x1), int(y1))


def _country_roads(
    rng: np.random.Generator,
    style: Style,
    towns: list[tuple[NDArray[np.float64], float]],
    *,
    side_px: int,
    gsd_m: float,
) -> list[Street]:
    streets = [
        Street(wander(rng, side_px, sway=0.10), rng.uniform(9, 14), "main") for _ in range(1 + int(rng.random() < 0.4))
    ]
    streets += [Street(wander(rng, side_px, sway=0.14), rng.uniform(5, 7), "road") for _ in range(style.roads)]
    streets += [Street(wander(rng, side_px, sway=0.20), rng.uniform(2.5, 4), "track") for _ in range(style.tracks)]
    for centre, _ in towns:  # every town has a way out
        goal = streets[0].line[rng.integers(40, 120)]
        middle = (centre + goal) / 2 + rng.normal(0, 0.06 * side_px, 2)
        t = np.linspace(0, 1, 30)[:, None]
        curve = (1 - t) ** 2 * centre + 2 * t * (1 - t) * middle + t**2 * goal
        streets.append(Street(curve.astype(np.float32), 6.5, "road"))
    return streets


def _town_streets(
    rng: np.random.Generator, style: Style, centre: NDArray[np.float64], radius_px: float, *, gsd_m: float
) -> list[Street]:
    """A turned, jittered, slightly curved grid with gaps."""
    streets: list[Street] = []
    angle = rng.uniform(0, np.pi)
    bow = rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for direction in (0, 1):
        block = style.block_m / gsd_m * (1.0 if direction else rng.uniform(1.2, 2.0))
        at = -radius_px
        while at < radius_px:
            at += block * rng.uniform(0.7, 1.35)
            if rng.random() < 0.14:
                continue
            half = np.sqrt(max(radius_px**2 - at**2, 0)) * rng.uniform(0.65, 1.05)
            lo, hi = -half * rng.uniform(0.4, 1), half * rng.uniform(0.4, 1)
            t = np.linspace(lo, hi, 24)
            u, v = t, at + bow * t * t / radius_px + 3 * np.sin(t / 60 + at)
            line = np.column_stack([u, v] if direction else [v, u]) @ turn.T + centre
            streets.append(Street(line.astype(np.float32), float(rng.uniform(5, 7.5)), "street"))
    return streets
