"""Pairs from real orthophotos: one picture, seen twice through errors, other light and moved shadows."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.errors import ImageError
from pilotage.values import Rgb

_MAX_OFFSET = 0.12  # of the tile: further out, the edge of a small picture comes into view


class OrthophotoSource:
    """Draws pairs from one picture with a known ground pixel."""

    def __init__(self, path: Path, *, gsd_m: float) -> None:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ImageError(f"{path}: not a picture that can be read: remove it from the folder")
        self.image: Rgb = np.ascontiguousarray(image[..., ::-1])
        self.gsd_m = gsd_m
        self.extent_m = min(self.image.shape[:2]) * gsd_m
        self._levels = [self.image]
        while min(self._levels[-1].shape[:2]) > 128:
            self._levels.append(np.asarray(cv2.pyrDown(self._levels[-1]), np.uint8))

    def view_map(self, north_m: float, east_m: float, *, ground_m: float, side_px: int) -> Rgb:
        """Return the north-up tile about a place, metres from the centre of the picture."""
        return self._warp(north_m, east_m, ground_m, side_px, np.eye(3))

    def view_camera(
        self,
        north_m: float,
        east_m: float,
        *,
        ground_m: float,
        side_px: int,
        rng: np.random.Generator,
        error: float,
        offset: float,
    ) -> Rgb:
        """Return the same ground through a rectification with wrong heading, height and tilt, shadows added."""
        reach = min(offset, _MAX_OFFSET) * ground_m
        n = north_m + rng.uniform(-1, 1) * reach
        e = east_m + rng.uniform(-1, 1) * reach
        view = self._warp(n, e, ground_m, side_px, camera_errors(rng, error))
        return moved_shadows(view, rng) if rng.random() < 0.6 else view

    def _warp(self, north_m: float, east_m: float, ground_m: float, side_px: int, distort: NDArray[np.float64]) -> Rgb:
        level = max(0, min(len(self._levels) - 1, round(math.log2(max(ground_m / side_px / self.gsd_m, 1.0)))))
        image = self._levels[level]
        gsd = self.gsd_m * self.image.shape[0] / image.shape[0]
        middle = np.array([[1, 0, -(side_px - 1) / 2], [0, 1, -(side_px - 1) / 2], [0, 0, side_px / 2]]) / (side_px / 2)
        half = ground_m / 2 / gsd
        place = np.array(
            [
                [half, 0, (image.shape[1] - 1) / 2 + east_m / gsd],
                [0, half, (image.shape[0] - 1) / 2 - north_m / gsd],
                [0, 0, 1],
            ]
        )
        return np.asarray(
            cv2.warpPerspective(
                image,
                place @ distort @ middle,
                (side_px, side_px),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            ),
            np.uint8,
        )


def camera_errors(rng: np.random.Generator, error: float) -> NDArray[np.float64]:
    """Return the 3x3 from the patch to the ground, both -1..1 from edge to edge: wrong heading, height and tilt."""
    turn, scale = math.radians(rng.normal(0, 4 * error)), math.exp(rng.normal(0, 0.05 * error))
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    tilt = rng.normal(0, 0.04 * error, 2)
    return np.array([[c, -s, 0], [s, c, 0], [tilt[0], tilt[1], 1]])


def moved_shadows(view: Rgb, rng: np.random.Generator) -> Rgb:
    """Let bright things (roofs, mostly) throw a shadow to another side than they did."""
    grey = cv2.GaussianBlur(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    tall = (grey > np.quantile(grey, rng.uniform(0.6, 0.9))).astype(np.float32)
    reach = rng.uniform(2, 9)
    angle = rng.uniform(0, 2 * math.pi)
    thrown = tall.copy()
    for share in (0.34, 0.67, 1.0):
        shift = np.array([[1, 0, reach * share * math.cos(angle)], [0, 1, reach * share * math.sin(angle)]])
        thrown = np.maximum(thrown, cv2.warpAffine(tall, shift, tall.shape[::-1]))
    dark = cv2.blur(np.clip(thrown - tall, 0, 1), (3, 3)) * rng.uniform(0.25, 0.6)
    return np.asarray(view * (1 - dark[..., None]), np.uint8)
