"""A land of coloured pillars, seen from above and from the ground: what the look-alikes show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.values import Rgb

_EYE_M = 2.5
_SEEN_M = 45.0  # pillars farther off are not drawn into a panorama
_GRASS, _SKY = (96, 104, 88), (176, 184, 196)


@dataclass(frozen=True, slots=True)
class Land:
    """Pillars by east, north, radius and height in metres, each of one colour."""

    pillars_m: NDArray[np.float64]  # (N, 4)
    colours: NDArray[np.uint8]  # (N, 3)

    @staticmethod
    def scattered(rng: np.random.Generator, *, east_m: float, north_m: float, every_m: float = 14.0) -> Land:
        """Scatter pillars over a rectangle about the origin, one for every square of `every_m`."""
        count = max(6, round(east_m * north_m / every_m**2))
        where = rng.uniform(-0.5, 0.5, (count, 2)) * [east_m, north_m]
        sizes = rng.uniform([2.0, 3.0], [4.5, 9.0], (count, 2))
        hsv = np.stack([rng.integers(0, 180, count), rng.integers(190, 256, count), rng.integers(140, 256, count)], -1)
        colours = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
        return Land(np.concatenate([where, sizes], axis=1), np.asarray(colours, np.uint8))

    def tile(self, east_m: float, north_m: float, *, side_m: float, side_px: int, turn_deg: float = 0.0) -> Rgb:
        """Return the square about a place from above; north is up, or `turn_deg` clockwise of up."""
        image = np.full((side_px, side_px, 3), _GRASS, np.uint8)
        px_m, c, s = side_m / side_px, math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
        for (east, north, radius, _), colour in zip(self.pillars_m, self.colours.tolist(), strict=True):
            right, up = c * (east - east_m) + s * (north - north_m), c * (north - north_m) - s * (east - east_m)
            middle = round(side_px / 2 + right / px_m), round(side_px / 2 - up / px_m)
            cv2.circle(image, middle, max(1, round(radius / px_m)), colour, cv2.FILLED)
        return image

    def panorama(self, east_m: float, north_m: float, *, height_px: int, width_px: int, up_deg: float = 180.0) -> Rgb:
        """Return what stands around a place: north in the middle, east right of it, the horizon half-way down."""
        image = np.full((height_px, width_px, 3), _SKY, np.uint8)
        image[height_px // 2 :] = _GRASS
        offsets = self.pillars_m[:, :2] - [east_m, north_m]
        distances = np.hypot(offsets[:, 0], offsets[:, 1])
        for i in np.argsort(-distances):
            _, _, radius, tall = self.pillars_m[i]
            distance = float(distances[i])
            if not 1.1 * radius < distance < _SEEN_M:  # far off, or the camera would stand in it
                continue
            bearing_deg = math.degrees(math.atan2(offsets[i, 0], offsets[i, 1]))
            half_px = width_px * math.asin(radius / distance) / (2 * math.pi)
            edges_deg = (math.degrees(math.atan2(v, distance)) for v in (tall - _EYE_M, -_EYE_M))
            top, base = (round(height_px / 2 - height_px * edge / up_deg) for edge in edges_deg)
            for turn in (-1, 0, 1):  # a pillar over the seam is drawn on both sides
                column = width_px * (0.5 + bearing_deg / 360 + turn)
                corners = (round(column - half_px), top), (round(column + half_px), base)
                cv2.rectangle(image, *corners, self.colours[i].tolist(), cv2.FILLED)
        return image


def on_another_day(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Return the picture in other light, with noise."""
    light = rng.uniform(0.8, 1.15)
    return np.asarray(np.clip(light * image + rng.normal(0, 5, image.shape), 0, 255), np.uint8)
