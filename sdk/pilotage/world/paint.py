"""Colours of one day: fields, streets, roofs, crowns, water and cars, then light, haze and grain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.values import Rgb
from pilotage.world.layout import Layout, Street
from pilotage.world.light import sunlight
from pilotage.world.noise import Field, fractal, grain
from pilotage.world.style import Day

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is to be painted."""

    layout: Layout
    cover: NDArray[np.uint8]  # per parcel: 0 crop, 1 meadow, 2 wood, 3 town, 4 orchard
    crop: NDArray[np.intp]  # per parcel: colour of the season
    furrow_rad: NDArray[np.float32]  # per parcel
    roof_height_m: Field
    roof_rgb: NDArray[np.uint8]
    tree_height_m: Field
    tree_tone: NDArray[np.uint8]


def paint(rng: np.random.Generator, day: Day, ground: Ground, *, gsd_m: float) -> Rgb:
    """Return the orthophoto of that day."""
    layout = ground.layout
    side_px = layout.terrain_m.shape[0]
    picture = _fields(rng, day, ground, gsd_m)
    _towns(rng, day, picture, layout, gsd_m)
    _streets(day, picture, layout.streets, gsd_m)
    _cars(rng, picture, layout.streets, gsd_m)
    _blend_water(rng, day, picture, layout, gsd_m)
    _crowns(day, picture, ground)
    roofed = ground.roof_height_m > 0.5
    np.copyto(picture, ground.roof_rgb.astype(np.float32), where=roofed[..., None])
    surface = layout.terrain_m + np.maximum(ground.roof_height_m, ground.tree_height_m)
    light = sunlight(surface, day, gsd_m=gsd_m)
    light *= 1 + 0.05 * grain(rng, side_px)
    picture *= light[..., None]
    picture = (picture - 112) * day.contrast + 112
    picture *= day.gain
    picture += day.haze * (np.array([168, 176, 186], np.float32) - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _fields(rng: np.random.Generator, day: Day, ground: Ground, gsd_m: float) -> Field:
    """Crops with furrows and tractor lines, meadows, woodland floor; mottled by soil and wetness."""
    parcel = ground.layout.parcel
    side_px = parcel.shape[0]
    count = len(ground.cover)
    colour = day.crops[ground.crop] * rng.uniform(0.9, 1.1, (count, 1)).astype(np.float32)
    colour[ground.cover == 1] = day.grass * rng.uniform(0.88, 1.12, (int(np.sum(ground.cover == 1)), 1))
    colour[ground.cover >= 2] = 0.75 * day.grass + 0.2 * day.soil
    mottle = fractal(rng, side_px, cell_px=60 / gsd_m, octaves=5, gain=0.62)
    texture = grain(rng, side_px)
    depth = np.where(ground.cover == 0, rng.uniform(0.0, 0.10, count), 0.012).astype(np.float32)
    period_m = rng.uniform(1.6, 5.0, count).astype(np.float32)
    wave_x = (np.cos(ground.furrow_rad) * 2 * np.pi / period_m * gsd_m).astype(np.float32)
    wave_y = (np.sin(ground.furrow_rad) * 2 * np.pi / period_m * gsd_m).astype(np.float32)
    picture = np.empty((side_px, side_px, 3), np.float32)
    columns = np.arange(side_px, dtype=np.float32)[None]
    for top in range(0, side_px, 256):  # strips keep the temporaries in the cache
        rows = slice(top, min(top + 256, side_px))
        which = parcel[rows]
        phase = wave_x[which] * columns + wave_y[which] * np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        tram = np.maximum(np.sin(phase / 9) - 0.97, 0) * 4.0
        tone = 1 + depth[which] * np.sin(phase) - tram * depth[which] * 8
        tone += 0.06 * mottle[rows] + 0.045 * texture[rows]
        np.multiply(colour[which], tone[..., None], out=picture[rows])
    damp = np.clip(mottle - 0.8, 0, 1)[..., None]
    picture += damp * (day.grass * 0.8 - picture) * 0.35
    return picture


def _towns(rng: np.random.Generator, day: Day, picture: Field, layout: Layout, gsd_m: float) -> None:
    """Gardens, yards and paved ground, patchy."""
    side_px = picture.shape[0]
    patch = fractal(rng, side_px, cell_px=22 / gsd_m, octaves=3, gain=0.7)
    inside = np.clip(layout.town * 6, 0, 1)
    lawn = day.grass * 0.94
    weight = inside * 0.85
    picture += weight[..., None] * (lawn * (1 + 0.08 * patch)[..., None] - picture)
    paved = np.clip((patch - 0.55 + 0.7 * np.clip(layout.town, 0, 1)) * 3, 0, 1) * inside
    picture += paved[..., None] * (day.asphalt * 1.12 * (1 + 0.04 * patch)[..., None] - picture) * 0.85
    bare = np.clip((-patch - 1.0) * 3, 0, 1) * inside
    picture += bare[..., None] * (day.soil * 1.15 - picture) * 0.7


def _streets(day: Day, picture: Field, streets: list[Street], gsd_m: float) -> None:
    wear = {"track": day.soil * 1.1, "street": day.asphalt, "road": day.asphalt * 0.96, "main": day.asphalt * 0.88}
    for kind in ("track", "street", "road", "main"):
        lines = [street for street in streets if street.kind == kind]
        for width_scale, tone in ((1.35, 0.55), (1.0, 1.0)):  # the verge, then the surface
            mask = np.zeros(picture.shape[:2], np.uint8)
            for street in lines:
                _stroke(mask, street, street.width_m * width_scale, gsd_m)
            colour = wear[kind] if tone == 1.0 else 0.5 * wear[kind] + 0.5 * day.soil * 1.1
            soft = np.asarray(cv2.blur(mask, (3, 3)), np.uint8)
            _mix(picture, soft, colour)
        if kind in ("road", "main"):
            mask = np.zeros(picture.shape[:2], np.uint8)
            for street in lines:
                _dashes(mask, street, gsd_m)
            _mix(picture, mask, np.array([222, 222, 214], np.float32) * 0.95)


def _mix(picture: Field, mask: Mask, colour: NDArray[np.float32]) -> None:
    """Lay a colour over the picture by a mask of 0..255, only where the mask is."""
    rows, columns = np.nonzero(mask)
    weight = mask[rows, columns].astype(np.float32)[:, None] / 255
    here = picture[rows, columns]
    picture[rows, columns] = here + weight * (colour.astype(np.float32) - here)


def _stroke(mask: Mask, street: Street, width_m: float, gsd_m: float) -> None:
    points = np.round(street.line * 8).astype(np.int32)
    cv2.polylines(mask, [points], False, 255, max(1, round(width_m / gsd_m)), cv2.LINE_AA, 3)


def _dashes(mask: Mask, street: Street, gsd_m: float) -> None:
    step = np.diff(street.line, axis=0)
    along = np.concatenate([[0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))]) * gsd_m
    ends = np.arange(0, along[-1] - 3, 9)
    xs = np.interp(np.column_stack([ends, ends + 3]), along, street.line[:, 0])
    ys = np.interp(np.column_stack([ends, ends + 3]), along, street.line[:, 1])
    dashes = np.round(np.stack([xs, ys], axis=2) * 8).astype(np.int32)
    cv2.polylines(mask, list(dashes), False, 150, 1, cv2.LINE_AA, 3)


_CARS = np.array(
    [[230, 230, 228], [40, 42, 46], [150, 152, 156], [170, 40, 36], [40, 62, 110], [96, 98, 100], [200, 196, 188]],
    np.float32,
)


def _cars(rng: np.random.Generator, picture: Field, streets: list[Street], gsd_m: float) -> None:
    """A few on the roads, more along the streets; today's are not where the map's were."""
    side_px = picture.shape[0]
    for street in streets:
        if street.kind == "track":
            continue
        step = np.diff(street.line, axis=0)
        along = np.concatenate([[0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))]) * gsd_m
        for at in np.sort(rng.uniform(0, along[-1], int(along[-1] / rng.uniform(16, 60)))):
            piece = min(int(np.searchsorted(along, at, side="right")) - 1, len(step) - 1)
            centre = street.line[piece] + step[piece] * (at - along[piece]) / max(
                float(along[piece + 1] - along[piece]), 1e-6
            )
            heading = np.arctan2(step[piece][1], step[piece][0])
            centre = centre + np.array([-np.sin(heading), np.cos(heading)]) * rng.choice([-1, 1]) * street.width_m * (
                0.27 / gsd_m
            )
            if not (8 < centre[0] < side_px - 8 and 8 < centre[1] < side_px - 8):
                continue
            box = cv2.boxPoints(
                (
                    (float(centre[0]), float(centre[1])),
                    (rng.uniform(3.8, 5.2) / gsd_m, 1.9 / gsd_m),
                    float(np.degrees(heading)),
                )
            )
            colour = _CARS[rng.integers(len(_CARS))]
            cv2.fillConvexPoly(picture, np.round(box).astype(np.int32), [float(v) for v in colour])


def _blend_water(rng: np.random.Generator, day: Day, picture: Field, layout: Layout, gsd_m: float) -> None:
    water = cv2.blur(layout.water.astype(np.float32), (3, 3))
    shore = np.clip(cv2.blur(layout.water.astype(np.float32), (int(9 / gsd_m) | 1,) * 2) * 2, 0, 1)
    ripple = fractal(rng, picture.shape[0], cell_px=90 / gsd_m, octaves=3)
    bank = day.soil * 0.9 + day.grass * 0.15
    picture += (np.clip(shore - water, 0, 1) * 0.55)[..., None] * (bank - picture)
    picture += water[..., None] * (day.water * (1 + 0.05 * ripple)[..., None] - picture)


def _crowns(day: Day, picture: Field, ground: Ground) -> None:
    """Every crown has its own green, and its own opinion about autumn."""
    tone = np.arange(256, dtype=np.float32) / 255
    table = day.wood * (0.72 + 0.62 * tone)[:, None]
    turned = (np.sin(tone * 97.0) * 0.5 + 0.5) < day.autumn
    rust = np.stack([150 + 50 * tone, 104 + 42 * np.roll(tone, 90), 54 + 14 * tone], axis=1)
    table[turned] = 0.35 * table[turned] + 0.65 * rust[turned]
    where = np.flatnonzero(ground.tree_tone.ravel())
    flat = picture.reshape(-1, 3)
    flat[where] = table.astype(np.float32)[ground.tree_tone.ravel()[where]]
